"""Shallow copies of git repositories, with credentials that stay in the environment of git."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from cht_sync.errors import SettingsError
from cht_sync.pipeline.scrub import scrub
from cht_sync.pipeline.source import Source

TIMEOUT_S = 300
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
FULL_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def without_repository(environ: Mapping[str, str]) -> dict[str, str]:
    """An environment for a git that must not take the current repository for its own.

    :param environ: the environment of this process.
    """
    return {name: value for name, value in environ.items() if name not in OF_A_REPOSITORY}


class GitRepository:
    """A repository reached through the git program.

    :param source: where it is, with the ref that is wanted.
    """

    def __init__(self, source: Source) -> None:
        self._source = source

    def commit(self) -> str:
        """The commit that the ref names now, or the ref itself where it looks like a commit.

        :raises SettingsError: if the repository cannot be read or has no such ref.
        """
        ref = self._source.ref
        wanted = [f"refs/heads/{ref}", f"refs/tags/{ref}^{{}}", f"refs/tags/{ref}"] if ref else ["HEAD"]
        if ref.startswith("refs/"):
            wanted = [f"{ref}^{{}}", ref, *wanted]
        listing = self._git("ls-remote", "--", self._source.location, *wanted)
        found = {name: commit for commit, _, name in (line.partition("\t") for line in listing.splitlines())}
        for name in wanted:
            if name in found:
                return found[name]
        if ref and COMMIT.fullmatch(ref):
            return ref
        missing = f"no branch, tag or commit {ref!r}" if ref else "no default branch"
        raise SettingsError(f"{self._source.text} cannot be installed: the repository has {missing}.")

    def checkout(self, commit: str, folder: Path) -> str:
        """Writes the files of one commit, without history.

        :param commit: what :meth:`commit` gave.
        :param folder: a new folder.
        :returns: the full hash of the commit.
        :raises SettingsError: if the repository has no such commit.
        """
        folder.mkdir(parents=True)
        self._git("init", "--quiet", str(folder))
        self._fetch(commit, folder)
        self._git("-C", str(folder), "checkout", "--quiet", "--detach", commit)
        full = self._git("-C", str(folder), "rev-parse", "HEAD").strip()
        shutil.rmtree(folder / ".git")
        return full

    def _fetch(self, commit: str, folder: Path) -> None:
        fetch = ("-C", str(folder), "fetch", "--quiet")
        if FULL_COMMIT.fullmatch(commit):
            try:
                self._git(*fetch, "--depth=1", "--no-tags", "--", self._source.location, commit)
                return
            except SettingsError:
                # Some servers hand out commits by branch only; the next call says what else may be wrong.
                pass
        self._git(*fetch, "--tags", "--", self._source.location, "+refs/heads/*:refs/remotes/origin/*")
        try:
            self._git("-C", str(folder), "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
        except SettingsError:
            raise SettingsError(
                f"{self._source.text} cannot be installed: the repository has no branch, tag or commit {commit!r}."
            ) from None

    def _git(self, *arguments: str) -> str:
        try:
            done = subprocess.run(
                ["git", *arguments],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT_S,
                check=False,
            )
        except FileNotFoundError:
            raise SettingsError(f"{self._source.text} cannot be installed: the program git is missing.") from None
        except subprocess.TimeoutExpired:
            raise SettingsError(
                f"{self._source.text} cannot be installed: git had no answer within {TIMEOUT_S} s."
            ) from None
        if done.returncode:
            reason = scrub(_last_words(done.stderr), self._source.secrets)
            raise SettingsError(f"{self._source.text} cannot be installed: git says {reason!r}.")
        return done.stdout

    def _environment(self) -> dict[str, str]:
        """Credentials go to the one server as a header, in variables only.

        Source: https://git-scm.com/docs/git-config#Documentation/git-config.txt-GITCONFIGCOUNT
        """
        config = {"protocol.ext.allow": "never"}
        if self._source.user or self._source.password:
            pair = f"{self._source.user}:{self._source.password}".encode()
            server = urlsplit(self._source.location)
            header = f"Authorization: Basic {base64.b64encode(pair).decode()}"
            config[f"http.{server.scheme}://{server.netloc}/.extraHeader"] = header
            # What a person keeps in a helper on this machine must not replace what the URL says.
            config["credential.helper"] = ""
        env = {n: value for n, value in without_repository(os.environ).items() if not n.startswith("GIT_TRACE")}
        # What is there already may hold a proxy or a certificate; of two values of one key git takes the last.
        inherited = env.get("GIT_CONFIG_COUNT", "")
        first = int(inherited) if inherited.isdecimal() else 0
        for number, (key, value) in enumerate(config.items(), first):
            env[f"GIT_CONFIG_KEY_{number}"], env[f"GIT_CONFIG_VALUE_{number}"] = key, value
        return {
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=20",
            **env,
            "GIT_CONFIG_COUNT": str(first + len(config)),
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "LC_ALL": "C",
        }


def _last_words(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    fatal = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (fatal or lines or ["nothing"])[-1][:500]
