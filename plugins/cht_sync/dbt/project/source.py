"""Which dbt project the settings name, and how that is told without its credentials."""

from __future__ import annotations

import hashlib
import logging
import os
import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from cht_sync.errors import SettingsError
from cht_sync.settings.environment import expanded
from cht_sync.settings.settings import REPOSITORY, ProjectLimits, Settings

log = logging.getLogger(__name__)

STARTER = REPOSITORY / "include" / "dbt" / "starter"
GIT_SCHEMES = {"https", "http", "ssh", "git", "file"}
Kind = Literal["folder", "tarball", "git", "starter"]
SETTINGS = {"folder": "DBT_LOCAL_PATH", "git": "CHT_PIPELINE_BRANCH_URL", "tarball": "DBT_PACKAGE_TARBALL_URL"}


@dataclass(frozen=True, slots=True)
class Source:
    """A dbt project somewhere: a folder, a tarball, a git repository, or the starter of this repository.

    :param location: path or URL, without credentials.
    :param ref: branch, tag or commit of a git repository; empty for its default branch.
    :param user: for http(s), where the URL had one, as the password or token.
    """

    kind: Kind
    location: str
    ref: str = ""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    limits: ProjectLimits = field(default_factory=ProjectLimits)

    @property
    def setting(self) -> str:
        """The variable that names it; empty for the starter."""
        return SETTINGS.get(self.kind, "")

    @property
    def has_credentials(self) -> bool:
        """Whether a user name, password or token goes to its server."""
        return bool(self.user or self.password)

    @property
    def secrets(self) -> list[str]:
        """What must never be shown, in each form it may take; a lone user name is a token."""
        parts = [part for part in (self.user if not self.password else "", self.password) if part]
        return [form for part in parts for form in {part, quote(part, safe="")}]

    @property
    def text(self) -> str:
        """What a person may read: no credentials, no query string."""
        if self.kind == "starter":
            return "the built-in starter models"
        shown = re.sub(r"\?.*", "?...", self.location)
        return f"{shown}#{self.ref}" if self.ref else shown

    def refusal(self, why: str, step: str = "installed") -> SettingsError:
        """The error for what no project may hold or be; ``why`` is the rest of its sentence."""
        return SettingsError(f"{self.text} cannot be {step}: {why}.", self.setting)

    @property
    def fingerprint(self) -> str:
        """A short hash that tells two sources apart; other credentials for the same place do not change it."""
        location = "" if self.kind == "starter" else self.location
        return hashlib.sha256("\0".join((self.kind, location, self.ref)).encode()).hexdigest()[:16]


def configured_source(settings: Settings) -> Source:
    """The dbt project that the settings name: no file and no network is read.

    The first of ``DBT_LOCAL_PATH``, ``CHT_PIPELINE_BRANCH_URL`` and ``DBT_PACKAGE_TARBALL_URL`` that is set, else the
    starter, as in CHT Sync; its template sets a path that does not exist beside a git URL, which is used then.

    :raises SettingsError: if the value cannot be a folder or URL.
    """
    choices = {
        "DBT_LOCAL_PATH": (settings.dbt_local_path, _folder),
        "CHT_PIPELINE_BRANCH_URL": (settings.pipeline_branch_url, _git),
        "DBT_PACKAGE_TARBALL_URL": (settings.dbt_tarball_url, _tarball),
    }
    named = {name: choice for name, choice in choices.items() if choice[0]}
    if not named:
        return Source("starter", str(STARTER))
    if passed_over := missing_folder_warning(settings):
        del named["DBT_LOCAL_PATH"]
        log.warning(passed_over)
    first, *others = named
    if others:
        log.warning("%s is used; %s is set too and not looked at.", first, " and ".join(others))
    value, make = named[first]
    return replace(_with_token(make(value), first, settings.pipeline_token), limits=settings.project_limits)


def _with_token(source: Source, name: str, token: str) -> Source:
    """The source with the token of the settings, which has no place in an address that many can see."""
    if not token or source.kind == "folder":
        return source
    if not source.location.lower().startswith(("https://", "http://")):
        raise SettingsError(
            f"CHT_PIPELINE_TOKEN is set, and {name} is no https address, which alone takes one: take one of them away.",
            "CHT_PIPELINE_TOKEN",
        )
    if source.user or source.password:
        raise SettingsError(
            f"CHT_PIPELINE_TOKEN is set, and {name} holds a user name or token too: take it out of the address.", name
        )
    user, _, password = token.partition(":")
    return replace(source, user=user, password=password)


def address_warning(settings: Settings) -> str:
    """A sentence where the address of the project holds what only a file should; else nothing."""
    source = configured_source(settings)
    if settings.pipeline_token or not (source.user or source.password):
        return ""
    name = "CHT_PIPELINE_BRANCH_URL" if source.kind == "git" else "DBT_PACKAGE_TARBALL_URL"
    return f"{name} holds a user name or token, which every component of Airflow sees that knows the setting."


def missing_folder_warning(settings: Settings) -> str:
    """A sentence where ``DBT_LOCAL_PATH`` does not exist and another project is used in its place; else nothing."""
    path, other = settings.dbt_local_path, settings.pipeline_branch_url or settings.dbt_tarball_url
    if not path or not other or _is_there(path):
        return ""
    used = "CHT_PIPELINE_BRANCH_URL" if settings.pipeline_branch_url else "DBT_PACKAGE_TARBALL_URL"
    return f"DBT_LOCAL_PATH={path!r} does not exist here: {used} is used in its place."


def _folder(value: str) -> Source:
    return Source("folder", str(expanded("DBT_LOCAL_PATH", value).absolute()))


def _is_there(value: str) -> bool:
    try:
        return Path(value).expanduser().exists()
    except (OSError, RuntimeError, ValueError):
        return False


def _tarball(value: str) -> Source:
    if value.partition("://")[0].lower() not in {"http", "https"}:
        raise SettingsError("DBT_PACKAGE_TARBALL_URL cannot be used: set it to an http or https URL of a .tar.gz file.")
    location, user, password = _without_credentials("DBT_PACKAGE_TARBALL_URL", value)
    return Source("tarball", location, user=user, password=password)


def _git(value: str) -> Source:
    url, _, ref = value.partition("#")
    # git takes what starts with a dash for an option, and `helper::address` for a command to run.
    # Source: https://git-scm.com/docs/gitremote-helpers
    if not url or url.startswith("-") or "::" in url or re.search(r"[\x00-\x20]", url):
        raise SettingsError(
            "CHT_PIPELINE_BRANCH_URL cannot be used: set it to a git URL such as"
            " https://github.com/medic/cht-pipeline.git#main."
        )
    if not _ref_is_plain(ref):
        raise SettingsError(
            f"CHT_PIPELINE_BRANCH_URL names {ref!r} after '#', which is no name of a branch, tag or commit."
        )
    # Not urlsplit(), which raises for some hosts, nor all before "://", which may hold a token and is shown below.
    found = re.match(r"([a-z][a-z0-9+.-]*)://", url.lower())
    scheme = found[1] if found else ""
    if scheme and scheme not in GIT_SCHEMES:
        raise SettingsError(
            f"CHT_PIPELINE_BRANCH_URL starts with {scheme}://: use https, http, ssh, git or file instead."
        )
    if scheme in {"http", "https", "ssh"}:
        location, user, password = _without_credentials("CHT_PIPELINE_BRANCH_URL", url)
        if scheme == "ssh" and user:
            # A login name belongs to the address; a password in it would be of no use to ssh.
            location, user, password = location.replace("ssh://", f"ssh://{quote(user)}@", 1), "", ""
        return Source("git", location, ref, user, password)
    if scheme or (":" in url.partition("/")[0] and not os.path.lexists(url)):
        # What is left are addresses that git takes as they are, on its command line: host:path is one for ssh.
        # Source: https://git-scm.com/docs/git-clone#_git_urls
        if re.search(r"^[^/]*:[^/]*@|://[^/]*@", url):
            raise SettingsError(
                "CHT_PIPELINE_BRANCH_URL has a user name or password where git takes none: use"
                " https://user:token@host/path, or user@host:path for ssh."
            )
        return Source("git", url, ref)
    return Source("git", str(expanded("CHT_PIPELINE_BRANCH_URL", url).absolute()), ref)


def _without_credentials(name: str, url: str) -> tuple[str, str, str]:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        # Its own text may quote what stands before the host.
        raise SettingsError(f"{name} cannot be used: it is no URL ({type(error).__name__}).", name) from None
    host = parts.netloc.rpartition("@")[2]
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query, ""))
    return bare, unquote(parts.username or ""), unquote(parts.password or "")


def _ref_is_plain(ref: str) -> bool:
    """The rules of names in git that matter here: https://git-scm.com/docs/git-check-ref-format."""
    return not (ref.startswith("-") or ".." in ref or re.search(r"[\x00-\x20~^:?*\[\\\x7f]|@\{", ref))
