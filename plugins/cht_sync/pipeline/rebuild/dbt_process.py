"""The dbt process of a rebuild, seen from the task that started it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self, cast

import yaml

from cht_sync.connections import dbt_connection
from cht_sync.pipeline.aside.events import NO_SEMAPHORES, read_line
from cht_sync.pipeline.dbt_program import python_path
from cht_sync.pipeline.git import without_repository
from cht_sync.pipeline.profile import PROFILE, TARGET, ModelsProfile, models_environment, profile_text
from cht_sync.pipeline.rebuild.errors import RebuildError, RebuildRefusedError
from cht_sync.pipeline.scrub import scrub
from cht_sync.settings import Settings

log = logging.getLogger(__name__)

END_WITHIN_S = 10
# Where dbt is killed, Postgres ends its statement by itself; the setting is of PostgreSQL 14 and later.
# Source: https://www.postgresql.org/docs/current/runtime-config-connection.html
NOTICE_DEATH = "-c client_connection_check_interval=5s"


class DbtProcess:
    """dbt in a process that ends with this one, however that ends.

    :param settings: the environment.
    :param folder: of a built version of the project.
    :param aside: schema of the models that are built aside.
    :param server_version: of Postgres, as psycopg2 tells it.
    """

    def __init__(self, settings: Settings, folder: Path, aside: str, server_version: int) -> None:
        self._settings = settings
        self._folder = folder
        self._aside = aside
        self._options = {"PGOPTIONS": NOTICE_DEATH} if server_version >= 140000 else {}
        self._secrets: list[str] = []
        self._last = ""

    def __enter__(self) -> Self:
        self._work = tempfile.TemporaryDirectory(prefix="cht-sync-rebuild-")
        try:
            self._start(Path(self._work.name))
            self._ask("parse", "parse the project", profiles=self._profiles["live"])
        except BaseException as error:
            self.__exit__(error)
            raise
        return self

    def __exit__(self, error: object = None, *_: object) -> None:
        process = getattr(self, "_process", None)
        if process:
            with suppress(OSError):
                if error:
                    # It ends at once, in the middle of a model too.
                    self._commands.close()
                else:
                    self._commands.write('{"do": "end"}\n')
                    self._commands.flush()
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            with suppress(OSError):
                self._commands.close()
            self._logged.join(END_WITHIN_S)
            self._answers.close()
        self._work.cleanup()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def modified(self, state: dict[str, Any]) -> dict[str, Any]:
        """What differs from another manifest.

        :param state: the other manifest.
        :return: ``modified`` and ``all``, unique ids without and with what hangs from them; or ``unreadable``, why
            this dbt cannot read that manifest.
        :raises RebuildError: if dbt fails.
        """
        folder = Path(self._work.name, "state")
        folder.mkdir(exist_ok=True)
        (folder / "manifest.json").write_text(json.dumps(state))
        return self._ask("modified", "compare the project", profiles=self._profiles["live"], state=str(folder))

    def run(self, members: Iterable[str], schemas: Mapping[str, str], full_refresh: bool) -> None:
        """Builds models in schemas aside.

        :param members: unique ids.
        :param schemas: the schema aside for each schema of a model.
        :param full_refresh: from the beginning, or only what is new.
        :raises RebuildError: if one of them fails.
        """
        self._ask(
            "run",
            "build the models aside",
            profiles=self._profiles["aside"],
            members=sorted(members),
            schemas=dict(schemas),
            full_refresh=full_refresh,
        )

    def _start(self, work: Path) -> None:
        text = profile_text(self._settings)
        aside = yaml.safe_load(text)
        # Macros that write tables of their own ask for target.schema: theirs stay aside too.
        aside[PROFILE]["outputs"][TARGET]["schema"] = self._aside
        self._profiles = {name: str(work / name) for name in ("live", "aside")}
        for name, content in (("live", text), ("aside", yaml.safe_dump(aside))):
            (work / name).mkdir()
            (work / name / "profiles.yml").write_text(content)
        (work / "target").mkdir()
        parsed = self._folder / "target" / "partial_parse.msgpack"
        if parsed.is_file():
            shutil.copy(parsed, work / "target")
        where = ["--project-dir", str(self._folder), "--target-path", str(work / "target")]
        where += ["--profile", PROFILE, "--target", TARGET]
        reading, writing = os.pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "cht_sync.pipeline.aside.process", str(writing), json.dumps(where)],
                cwd=self._folder,
                env={**without_repository(os.environ), **self._environment(), "DBT_LOG_PATH": str(work / "logs")},
                pass_fds=(writing,),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        finally:
            os.close(writing)
        self._commands: IO[str] = cast(IO[str], self._process.stdin)
        self._answers: IO[str] = os.fdopen(reading)
        self._logged = threading.Thread(target=self._tell, daemon=True)
        self._logged.start()

    def _environment(self) -> dict[str, str]:
        password = dbt_connection(self._settings).password or ""
        self._secrets = [password] if password else []
        return {
            **models_environment(self._settings),
            **self._options,
            ModelsProfile.get_env_var_name("password"): password,
            "PYTHONWARNINGS": NO_SEMAPHORES,
            "PYTHONPATH": python_path(),
        }

    def _tell(self) -> None:
        for line in self._process.stdout or ():
            level, text = read_line(line)
            self._last = scrub(text, self._secrets) or self._last
            log.log(level, "dbt: %s", scrub(text, self._secrets))

    def _how_it_ended(self) -> str:
        code = self._process.wait()
        if code >= 0:
            self._logged.join(END_WITHIN_S)
            return f"dbt ended by itself (exit code {code}, its last words: {self._last or 'none'})"
        memory = ", mostly because this machine ran out of memory," if -code == signal.SIGKILL else ""
        return f"dbt was ended from outside (exit code {code}) by {_signal(-code)}{memory}"

    def _ask(self, command: str, doing: str, **arguments: Any) -> dict[str, Any]:
        try:
            self._commands.write(json.dumps({"do": command, **arguments}) + "\n")
            self._commands.flush()
            line = self._answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RebuildError(
                f"{self._how_it_ended()} while it was to {doing}: nothing was changed, the next deployment tries again."
            )
        answer: dict[str, Any] = json.loads(line)
        if not answer["success"]:
            said = scrub(_why(answer), self._secrets)
            raise RebuildRefusedError(f"dbt could not {doing}, nothing was changed: {said}")
        return answer


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _why(answer: dict[str, Any]) -> str:
    failed = [one for one in answer["models"] if one["status"] in {"error", "fail", "runtime error"}]
    said = [f"{one['unique_id'].rpartition('.')[2]}: {' '.join(one['message'].split())}" for one in failed]
    return "; ".join(said or [answer["exception"] or "it says nothing more than its log"])[:2000]
