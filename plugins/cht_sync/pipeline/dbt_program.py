"""dbt as a program of its own, in the folder of one version."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cht_sync.connections import dbt_connection
from cht_sync.errors import SettingsError
from cht_sync.pipeline.git import without_repository
from cht_sync.pipeline.profile import PROFILE, TARGET, ModelsProfile, models_environment, profile_text
from cht_sync.pipeline.scrub import scrub
from cht_sync.pipeline.source import Source
from cht_sync.settings import REPOSITORY, Settings

log = logging.getLogger(__name__)
CLOCK = re.compile(r"^\d\d:\d\d:\d\d  ", re.MULTILINE)
DBT_TIMEOUT_S = 900
DBT_MAIN = (
    "import sys; from cht_sync.pipeline.aside.parsed import read_large_seeds; read_large_seeds();"
    " from dbt.cli.main import cli; cli(sys.argv[1:])"
)
SELECT = Path(__file__).with_name("dbt_select.py")
CHECKS = Path(__file__).with_name("dbt_checks.py")
SHOWN = 1500


def python_path() -> str:
    """Where a program that is started finds this package, then what this process has."""
    return os.pathsep.join(path for path in (str(REPOSITORY / "plugins"), os.environ.get("PYTHONPATH", "")) if path)


class DbtProgram:
    """Runs commands of dbt; what they say is told without secrets.

    :param source: where the project came from.
    :param folder: the version: wrapper project and package.
    :param settings: the environment.
    :param connected: whether dbt gets the password of the models' role; without it no command reaches a database.
    """

    def __init__(self, source: Source, folder: Path, settings: Settings, connected: bool = False) -> None:
        self._source = source
        self._folder = folder
        self._profile = profile_text(settings)
        # The profile asks for a password even where nothing connects.
        name = ModelsProfile.get_env_var_name("password")
        if connected:
            self._variables = {**models_environment(settings), name: dbt_connection(settings).password or ""}
        else:
            self._variables = {**settings.dbt_environment, name: ""}

    def run(self, command: str) -> None:
        """Runs a command.

        :param command: ``deps`` or ``parse``.
        :raises SettingsError: with dbt's own words, if it fails.
        """
        if failure := self.try_to(command):
            self.refuse(command, failure)

    def refuse(self, command: str, failure: str) -> None:
        """Raises what a command said.

        :param command: ``deps``, ``parse`` or ``compile``.
        :param failure: its output.
        :raises SettingsError: always.
        """
        lines = [line.strip() for line in failure.splitlines() if line.strip()]
        words = scrub(" ".join(lines[-12:]), self._source.secrets)[-SHOWN:]
        raise SettingsError(f"{self._source.text} cannot be installed: dbt {command} says: {words}")

    def try_to(self, command: str, **variables: str) -> str | None:
        """Runs a command.

        :param command: ``deps`` or ``parse``.
        :param variables: more environment.
        :returns: None, or what it said when it failed.
        """
        # What dbt warns of, deprecations among it, is told once for a version: where it is parsed the first time.
        shown = ["--log-level", "warn"] if command == "parse" else ["--quiet"]
        return self._run(["-c", DBT_MAIN, "--no-use-colors", *shown, command], variables, tell=command == "parse")

    def check(self, unit_tests: bool) -> list[dict[str, Any]]:
        """Compiles every model against the target, and runs the unit tests of the project.

        :param unit_tests: whether to run these.
        :returns: one result for each model and unit test, as ``dbt_checks.py`` writes them.
        :raises SettingsError: with dbt's own words, if it fails as a whole.
        """
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            # -P keeps this package's folder, which holds a profile.py and a git.py, from the start of sys.path.
            program = ["-P", str(CHECKS), str(report), folder, "tests" if unit_tests else "compile"]
            if failure := self._run(program, {}):
                self.refuse("compile", failure)
            results: list[dict[str, Any]] = json.loads(report.read_text())
        return results

    def select(self, atoms: list[str]) -> dict[str, Any]:
        """Asks dbt which models parts of a ``--select`` expression mean.

        :param atoms: the parts.
        :returns: unique ids by part; dbt's message where it does not take one.
        :raises SettingsError: with dbt's own words, if it fails as a whole.
        """
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            program = ["-P", str(SELECT), str(report), json.dumps(atoms), str(self._folder / "project")]
            if failure := self._run(program, {}):
                self.refuse("ls", failure)
            found: dict[str, Any] = json.loads(report.read_text())
        return found

    def _run(self, program: list[str], variables: dict[str, str], tell: bool = False) -> str | None:
        with tempfile.TemporaryDirectory() as profiles:
            Path(profiles, "profiles.yml").write_text(self._profile)
            # dbt parses all files anew where the names of profile and target differ: the tasks use these too.
            where = ["--project-dir", str(self._folder), "--profiles-dir", profiles, "--target", TARGET]
            where += ["--profile", PROFILE]
            try:
                done = subprocess.run(
                    [sys.executable, *program, *where],
                    cwd=self._folder,
                    env={**without_repository(os.environ), **self._variables, **variables, "PYTHONPATH": python_path()},
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    timeout=DBT_TIMEOUT_S,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                return f"nothing within {DBT_TIMEOUT_S} s"
        if done.returncode:
            return done.stdout or f"exit code {done.returncode}"
        if tell and (said := _warnings(done.stdout)):
            log.warning("dbt warns of %s: %s", self._source.text, scrub(said, self._source.secrets))
        return None


def _warnings(output: str) -> str:
    """What dbt has said, on one line and without its clock."""
    return " ".join(CLOCK.sub("", output).split())
