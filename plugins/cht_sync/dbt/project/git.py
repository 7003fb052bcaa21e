"""Shallow copies of git repositories, with credentials that stay in the environment of git."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from cht_sync.dbt.project.download import followed
from cht_sync.dbt.project.git_tree import listed, write_files
from cht_sync.dbt.project.limited import MOST_MEMORY, Done, TooMuchError, output_of, run_limited
from cht_sync.dbt.project.source import Source
from cht_sync.errors import SettingsError
from cht_sync.redaction import without_secrets

TIMEOUT_S = 300
LONGEST_ENTRY = 2**16
COMMIT = re.compile(r"[0-9a-f]{4,64}")
# What git tells its hooks of the repository it works in; a git that is started there would work in it too.
# Source: https://git-scm.com/docs/git-rev-parse#Documentation/git-rev-parse.txt---local-env-vars
OF_A_REPOSITORY = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
# Neither programs of this machine nor what a server says may have a part in a fetch.
# Source: https://git-scm.com/docs/git-config
HARMLESS = {
    "protocol.ext.allow": "never",
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.bigFileThreshold": "4m",
    "fetch.unpackLimit": "1",
    "fetch.recurseSubmodules": "false",
    "submodule.recurse": "false",
    "transfer.bundleURI": "false",
    "pack.threads": "1",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
# git would send a header on to wherever a server leads it.
REDIRECT_NOWHERE = {"http.followRedirects": "false"}
# git's words for an answer that it may not follow.
REDIRECTED = re.compile(r"(returned error:|HTTP) 30[12378]\b|redirect")
FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def without_repository(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a git that must not take the current repository for its own."""
    return {name: value for name, value in environ.items() if name not in OF_A_REPOSITORY}


def harmless(environ: Mapping[str, str], config: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment for a git that reads from strangers, and for programs that start one; it keeps proxies."""
    env = {n: value for n, value in without_repository(environ).items() if not n.startswith("GIT_TRACE")}
    more = {**HARMLESS, **(REDIRECT_NOWHERE if _has_header(environ) else {}), **(config or {})}
    # Of two values of one key git takes the last.
    inherited = env.get("GIT_CONFIG_COUNT", "")
    first = int(inherited) if inherited.isdecimal() else 0
    for number, (key, value) in enumerate(more.items(), first):
        env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
    return {**env, "GIT_CONFIG_COUNT": str(first + len(more)), "GIT_LFS_SKIP_SMUDGE": "1"}


def _has_header(environ: Mapping[str, str]) -> bool:
    """Whether git is told to send a header, which may be a token, wherever it goes."""
    keys = (value for name, value in environ.items() if name.startswith("GIT_CONFIG_KEY_"))
    return any(key.lower().endswith(".extraheader") for key in keys)


class TooMuchFetchedError(SettingsError):
    """git fetched more than a project may have."""


class GitRepository:
    """A repository reached through the git program."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._location = source.location

    def commit(self) -> str:
        """The commit that the ref names now, or the ref itself where it looks like a commit.

        :raises SettingsError: if the repository cannot be read or has no such ref.
        """
        ref = self._source.ref
        wanted = [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"] if ref else ["HEAD"]
        if ref.startswith("refs/"):
            wanted = [f"{ref}^{{}}", ref, *wanted]
        listing = self._git("ls-remote", "--", self._location, *wanted)
        found = {name: commit for commit, _, name in (line.partition("\t") for line in listing.splitlines())}
        for name in wanted:
            if name in found:
                return found[name]
        if ref and COMMIT.fullmatch(ref):
            return ref
        missing = f"no branch, tag or commit {ref!r}" if ref else "no default branch"
        raise self._source.refusal(f"the repository has {missing}")

    def checkout(self, commit: str, folder: Path) -> str:
        """Writes the files of one commit into a new folder, without history, as they are in git; returns its full hash.

        :raises SettingsError: if the repository has no such commit, or holds what no project may.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            self._git("init", "--quiet", "--bare", "--template=", scratch, within=scratch)
            self._fetch(commit, scratch)
            full = self._git("-C", scratch, "rev-parse", "--verify", f"{commit}^{{commit}}").strip()
            with self._output(scratch, "ls-tree", "-r", "-l", "-z", "--full-tree", full) as entries:
                blobs = listed(self._source, _until_zero(entries))
            wanted = "".join(f"{blob.hash}\n" for blob in blobs).encode()
            with self._output(scratch, "cat-file", "--batch", given=wanted) as content:
                write_files(self._source, blobs, content, folder)
        return full

    def _output(self, repository: str, *arguments: str, given: bytes = b"") -> AbstractContextManager[IO[bytes]]:
        command = ["git", "-C", repository, *arguments]
        limits = self._source.limits
        return output_of(command, env=self._environment(), limits=limits, given=given, timeout_s=TIMEOUT_S)

    def _fetch(self, commit: str, folder: str) -> None:
        fetch = ("-C", folder, "fetch", "--quiet", "--no-recurse-submodules", "--no-write-fetch-head")
        if FULL_COMMIT.fullmatch(commit):
            try:
                self._git(*fetch, "--depth=1", "--no-tags", "--", self._location, commit, within=folder)
                return
            except TooMuchFetchedError:
                raise
            except SettingsError:
                # Some servers hand out commits by branch only; the next call says what else may be wrong.
                pass
        self._git(*fetch, "--tags", "--", self._location, "+refs/heads/*:refs/remotes/origin/*", within=folder)
        try:
            self._git("-C", folder, "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
        except SettingsError:
            raise self._source.refusal(f"the repository has no branch, tag or commit {commit!r}") from None

    def _git(self, *arguments: str, within: str = "") -> str:
        """Runs git."""
        source, done = self._source, self._run(arguments, within)
        sends_credentials = source.has_credentials or _has_header(os.environ)
        if done.code and REDIRECTED.search(done.errors) and sends_credentials:
            self._location, before = self._moved(), self._location
            if self._location == before:
                raise source.refusal(
                    "its server leads git elsewhere by a redirect, where the user name, password or token for it must"
                    f" not go; give {source.setting} the address there"
                )
            done = self._run([self._location if each == before else each for each in arguments], within)
        if done.code and "Out of memory" in done.errors:
            raise source.refusal(
                f"what its server hands out takes git more than {MOST_MEMORY // 2**20} MB of memory, as no sound"
                f" repository does; look at {source.setting}"
            )
        if done.code:
            raise source.refusal(f"git says {without_secrets(_last_words(done.errors), source.secrets)!r}")
        return done.out

    def _run(self, arguments: Sequence[str], within: str) -> Done:
        try:
            return run_limited(
                ["git", *arguments],
                env=self._environment(),
                limits=self._source.limits,
                folders=[Path(within)] if within else [],
                timeout_s=TIMEOUT_S,
            )
        except FileNotFoundError:
            raise self._source.refusal("the program git is missing") from None
        except subprocess.TimeoutExpired:
            raise self._source.refusal(f"git had no answer within {TIMEOUT_S} s") from None
        except TooMuchError as error:
            raise TooMuchFetchedError(
                f"{self._source.text} cannot be installed: {error}, with what git fetches of its history.",
                self._source.setting,
            ) from None

    def _moved(self) -> str:
        """Where the server says that the repository is now, if that is the same server."""
        path = "/info/refs"
        found = followed(self._source, f"{self._location.rstrip('/')}{path}", {"service": "git-upload-pack"})
        if not urlsplit(found).path.endswith(path):
            raise self._source.refusal("its server answers with a redirect that no git server gives")
        return found.partition("?")[0].removesuffix(path)

    def _environment(self) -> dict[str, str]:
        """Credentials go to the one server as a header, in variables only.

        Source: https://git-scm.com/docs/git-config#Documentation/git-config.txt-GITCONFIGCOUNT
        """
        config: dict[str, str] = {}
        if self._source.has_credentials:
            pair = f"{self._source.user}:{self._source.password}".encode()
            server = urlsplit(self._location)
            header = f"Authorization: Basic {base64.b64encode(pair).decode()}"
            config[f"http.{server.scheme}://{server.netloc}/.extraHeader"] = header
            # What a person keeps in a helper on this machine must not replace what the URL says.
            config["credential.helper"] = ""
            config |= REDIRECT_NOWHERE
        return {
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
            **harmless(os.environ, config),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "LC_ALL": "C",
        }


def _until_zero(lines: IO[bytes]) -> Iterator[bytes]:
    """What stands between bytes of zero; not more of it at a time than a name and what git says of it may have."""
    rest = b""
    while piece := lines.read(LONGEST_ENTRY):
        *whole, rest = (rest + piece).split(b"\0")
        if len(rest) > LONGEST_ENTRY:
            break
        yield from whole
    if rest:
        yield rest


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (fatal or lines or ["nothing"])[-1][:500]
