"""Airflow's four components as processes of the demo."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from include.demo.errors import DemoError
from include.demo.process import GuardedProcess
from include.demo.remembered import HOST, choose_port

REPOSITORY = Path(__file__).resolve().parents[2]
NEEDED_FIRST = {
    "api-server": ["--host", HOST],
    "scheduler": ["--skip-serve-logs"],  # the log server would listen on every interface
    "dag-processor": [],
}
# The DAG runs without it; it would only slow the others' start.
REST = {"triggerer": ["--skip-serve-logs"]}
USER = "admin"

LAST_MOMENTS_S = 5.0


class AirflowServices:
    """The API server with the UI, scheduler, DAG processor and triggerer, on 127.0.0.1.

    :param folder: for Airflow's home, secrets, logs and ports; made when missing.
    :param database: SQLAlchemy address of the metadata database.
    :param environment: further variables for every component and task.
    :param port: TCP port of the UI; by default the one of the last start, at first any free one.
    """

    def __init__(self, folder: Path, database: str, environment: dict[str, str], port: int | None = None) -> None:
        self.folder = folder.absolute()
        self._database = database
        self._given = environment
        self._wanted_port = port
        # Whose DAGs and plugins run: another version's while an upgrade is tested.
        self.repository = REPOSITORY
        self._processes: list[GuardedProcess] = []
        self.port = 0
        self.password = ""

    @property
    def url(self) -> str:
        """Address of the UI and the REST API."""
        return f"http://{HOST}:{self.port}"

    def start(self) -> None:
        """Brings the metadata database up to date and starts what a run needs.

        :raises DemoError: if the database cannot be prepared or the folder is in use.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = choose_port(self.folder, self._wanted_port)
        self._migrate(self.environment())
        self._start(NEEDED_FIRST)

    def start_rest(self) -> None:
        """Starts the components that can wait.

        :raises DemoError: if the folder is in use.
        """
        self._start(REST)

    def _start(self, components: dict[str, list[str]]) -> None:
        environment = self.environment()
        for name, options in components.items():
            place = self.folder / name
            place.mkdir(exist_ok=True)
            process = GuardedProcess(f"Airflow {name}", place)
            process.claim()
            self._processes.append(process)
            process.start([sys.executable, "-m", "airflow", name, *options], environment=environment)

    def check(self) -> None:
        """Looks whether every component is alive.

        :raises DemoError: if one has ended; with the end of its log.
        """
        for process in self._processes:
            if not process.running:
                raise DemoError(f"{process.name} ended; the end of {process.log} says: {process.log_tail()}")

    def stop(self) -> None:
        """Ends the components, all at once, and waits for them and for the tasks they have started."""
        started = psutil.Process().children(recursive=True) if self._processes else []
        # Not the sessions of PostgreSQL, whose titles name the database.
        ours = [each for each in started if "airflow" in _title(each) and not _title(each).startswith("postgres")]
        for process in self._processes:
            process.ask_to_stop()
        while self._processes:
            self._processes.pop().stop()
        # A task that was under way tries to reach the API server, which has ended: it would do so for a while.
        _, left = psutil.wait_procs(ours, timeout=LAST_MOMENTS_S)
        for each in left:
            with suppress(psutil.NoSuchProcess):
                each.kill()

    def environment(self) -> dict[str, str]:
        """Variables that make a process, the command line included, one of this Airflow."""
        kept = self._remembered_secrets()
        self.password = kept["password"]
        pipeline = Path(self._given.get("CHT_PIPELINE_DIR", self.folder / "cht_pipeline"))
        docs = {"cht": {"dir": str(pipeline.absolute() / "docs"), "name": "dbt docs"}}
        return {
            **self._given,
            "AIRFLOW_HOME": str(self.folder),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.repository / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(self.repository / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__FERNET_KEY": kept["fernet"],
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.folder / "passwords.json"),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": kept["api"],
            "AIRFLOW__API_AUTH__JWT_SECRET": kept["jwt"],
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.folder / "logs"),
            # A run is a chain of short tasks: the scheduler's naps between them would be most of its time.
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__COSMOS__DBT_DOCS_PROJECTS": json.dumps(docs),
            "AIRFLOW__OPENLINEAGE__NAMESPACE": "cht_sync",  # silences a warning in every process
            "PYTHONPATH": os.pathsep.join(
                [str(self.repository / "include" / "airflow_config"), str(self.repository / "plugins")]
            ),
            "DO_NOT_TRACK": "1",
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
        }

    def _migrate(self, environment: dict[str, str]) -> None:
        from airflow import __version__

        done = self.folder / "migrated"
        mark = f"{__version__} {self._database.rpartition('@')[2]}"
        if done.exists() and done.read_text() == mark:
            return
        result = subprocess.run(
            [sys.executable, "-m", "airflow", "db", "migrate"],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise DemoError(f"Airflow's database could not be prepared: {result.stderr.strip()[-1500:]}")
        done.write_text(mark)

    def _remembered_secrets(self) -> dict[str, str]:
        """Secrets of this Airflow, made once; others may not read them."""
        file = self.folder / "secrets.json"
        if not file.exists():
            from cryptography.fernet import Fernet

            self.folder.mkdir(parents=True, exist_ok=True)
            names = {name: secrets.token_urlsafe(32) for name in ("api", "jwt")}
            made = {**names, "password": secrets.token_urlsafe(12), "fernet": Fernet.generate_key().decode()}
            for path, content in ((file, made), (self.folder / "passwords.json", {USER: made["password"]})):
                path.touch(mode=0o600)
                path.write_text(json.dumps(content))
        kept: dict[str, str] = json.loads(file.read_text())
        return kept


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""
