"""dbt as a program of its own, in the folder of one version."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from cht_sync.dbt.launch.environment import advice, to_connect, to_fetch, to_parse
from cht_sync.dbt.launch.profile import PROFILE, TARGET, profile_text
from cht_sync.dbt.project.git import harmless
from cht_sync.dbt.project.limited import MOST_MEMORY, TooMuchError, run_limited
from cht_sync.dbt.project.source import Source
from cht_sync.dbt.project.tree import require_inside
from cht_sync.errors import SettingsError
from cht_sync.redaction import without_secrets
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
CLOCK = re.compile(r"^\d\d:\d\d:\d\d  ", re.MULTILINE)
DBT_TIMEOUT_S = 900
DBT_MAIN = (
    "import sys; from cht_sync.dbt.subprocess.parsed import read_large_seeds; read_large_seeds();"
    " from dbt.cli.main import cli; cli(sys.argv[1:])"
)
PROGRAMS = Path(__file__).parents[1] / "subprocess"
SHOWN = 1500


class DbtProgram:
    """Runs commands of dbt; what they say is shown without secrets.

    :param connected: whether dbt gets the password of the models' role; without it no command reaches a database.
    """

    def __init__(self, source: Source, folder: Path, settings: Settings, connected: bool = False) -> None:
        self._source = source
        self._folder = folder
        self._profile = profile_text(settings)
        self._variables = to_connect(settings) if connected else to_parse(settings)
        self._to_fetch = to_fetch(settings)

    def run(self, command: str) -> None:
        """Runs ``deps`` or ``parse``; SettingsError with dbt's own words, if it fails."""
        if failure := self.try_to(command):
            self.refuse(command, failure)

    def refuse(self, command: str, failure: str) -> None:
        """Raises what a command said."""
        raise SettingsError(f"{self._source.text} cannot be installed: {self.said(command, failure)}")

    def said(self, command: str, failure: str) -> str:
        """What a command said, for messages."""
        lines = [line.strip() for line in CLOCK.sub("", failure).splitlines() if line.strip()]
        words = without_secrets(" ".join(lines[-12:]), self._source.secrets)[-SHOWN:]
        return f"dbt {command} says: {words}{advice(failure)}"

    def try_to(self, command: str, **variables: str) -> str | None:
        """Runs a command.

        :param command: ``deps`` or ``parse``.
        :param variables: more environment.
        :returns: None, or what it said when it failed.
        """
        if command == "deps":
            return self._run_deps(["-P", str(PROGRAMS / "deps.py"), "--no-use-colors", "--quiet", command], variables)
        # What dbt warns of, deprecations among it, is logged once for a version: where it is parsed the first time.
        shown = ["--log-level", "warn"] if command == "parse" else ["--quiet"]
        program = ["-P", "-c", DBT_MAIN, "--no-use-colors", *shown, command]
        return self._run(program, variables, log_warnings=command == "parse")

    def check(self, unit_tests: bool) -> list[dict[str, Any]]:
        """Compiles every model against the target, and runs the unit tests of the project.

        :returns: one result for each model and unit test, as ``dbt/subprocess/checks.py`` writes them.
        :raises SettingsError: with dbt's own words, if it fails as a whole.
        """
        with tempfile.TemporaryDirectory() as target:
            return self._report("compile", "checks.py", target, "tests" if unit_tests else "compile")

    def select(self, atoms: list[str]) -> dict[str, Any]:
        """Asks dbt which models parts of a ``--select`` expression mean.

        :returns: unique ids by part; dbt's message where it does not take one.
        :raises SettingsError: with dbt's own words, if it fails as a whole.
        """
        return self._report("ls", "select_models.py", json.dumps(atoms), str(self._folder / "project"))

    def _report(self, command: str, program: str, *arguments: str) -> Any:
        """What a program of ours writes as JSON."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.json")
            # -P keeps this package's folder, which holds a profile.py and a git.py, from the start of sys.path.
            if failure := self._run(["-P", str(PROGRAMS / program), str(report), *arguments], {}):
                self.refuse(command, failure)
            return json.loads(report.read_text())

    def _run_deps(self, program: list[str], variables: dict[str, str]) -> str | None:
        """``dbt deps`` downloads and unpacks what strangers hand out, of any size."""
        scratch = self._folder / ".downloads"
        scratch.mkdir(exist_ok=True)
        places = {"TMPDIR": str(scratch), "DBT_DOWNLOADS_DIR": str(scratch / "packages")}
        try:
            with tempfile.TemporaryDirectory() as profiles:
                done = run_limited(
                    [sys.executable, *program, *self._where(profiles)],
                    env=harmless({**self._to_fetch, **variables, **places}),
                    limits=self._source.limits,
                    folders=[self._folder],
                    cwd=self._folder,
                    timeout_s=DBT_TIMEOUT_S,
                )
            if done.code:
                # What dbt says of a file that it cannot read quotes it, whatever a link in a package leads to.
                require_inside(self._source, scratch, scratch)
        except subprocess.TimeoutExpired:
            return f"nothing within {DBT_TIMEOUT_S} s"
        except TooMuchError as error:
            raise SettingsError(
                f"{self._source.text} cannot be installed: {error}, with its packages.", self._source.setting
            ) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        if done.code and "MemoryError" in done.out + done.errors:
            raise SettingsError(
                f"{self._source.text} cannot be installed: a package of it takes more than {MOST_MEMORY // 2**20} MB of"
                " memory to unpack, as no sound one does."
            )
        return (done.out + done.errors or f"exit code {done.code}") if done.code else None

    def _where(self, profiles: str) -> list[str]:
        """Options of each command; writes the profile."""
        Path(profiles, "profiles.yml").write_text(self._profile)
        # dbt parses all files again where the names of profile and target differ: the tasks use these too.
        where = ["--project-dir", str(self._folder), "--profiles-dir", profiles, "--target", TARGET]
        return [*where, "--profile", PROFILE]

    def _run(self, program: list[str], variables: dict[str, str], log_warnings: bool = False) -> str | None:
        with tempfile.TemporaryDirectory() as profiles:
            try:
                done = subprocess.run(
                    [sys.executable, *program, *self._where(profiles)],
                    cwd=self._folder,
                    env={**self._variables, **variables},
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
        if log_warnings and (said := " ".join(CLOCK.sub("", done.stdout).split())):
            log.warning("dbt warns of %s: %s", self._source.text, without_secrets(said, self._source.secrets))
        return None
