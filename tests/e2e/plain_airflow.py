"""An Airflow that was there before: its own environment with the oldest versions, CeleryExecutor, an empty home."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
from cryptography.fernet import Fernet

from include.demo.process import GuardedProcess
from include.demo.remembered import HOST, choose_port

REPOSITORY = Path(__file__).parents[2]
WORKERS = ("one", "two")
# What reaches package indexes from behind a proxy.
NETWORK = ("SSL_", "PIP_", "UV_", "HTTP_", "HTTPS_", "NO_PROXY", "http_", "https_", "REQUESTS_")

ENTER = "import json, os, sys; os.execve(sys.argv[2], sys.argv[2:], json.load(open(sys.argv[1])))"


class PlainAirflow:
    """Scheduler, API server, DAG processor and two Celery workers, of nothing but ``requirements-oldest.txt``.

    :param folder: for everything.
    :param database: SQLAlchemy address of an empty metadata database, without the driver.
    :param settings: variables as an administrator would set them.
    """

    def __init__(self, folder: Path, database: str, settings: dict[str, str]) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir(parents=True)
        self.password = secrets.token_urlsafe(12)
        self._processes: dict[str, GuardedProcess] = {}
        ports = {}
        for name in ("api", "redis"):
            (folder / name).mkdir()
            ports[name] = choose_port(folder / name, None)
        self.url, self._redis_port = f"http://{HOST}:{ports['api']}", ports["redis"]
        (folder / "passwords.json").write_text(json.dumps({"admin": self.password}))
        self.environment = {
            "PATH": f"{folder / 'venv' / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "AIRFLOW_HOME": str(folder / "airflow"),
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / "project" / "dags"),
            "AIRFLOW__CORE__PLUGINS_FOLDER": str(folder / "project" / "plugins"),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__FERNET_KEY": Fernet.generate_key().decode(),
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(folder / "passwords.json"),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__PORT": str(ports["api"]),
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_urlsafe(32),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__CELERY__BROKER_URL": f"redis://{HOST}:{ports['redis']}/0",
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
            "AIRFLOW__CELERY__WORKER_CONCURRENCY": "2",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": database.replace("postgresql:", "postgresql+psycopg2:"),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            # Where all tests share two cores, five seconds are too few.
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
            # A worker that is lost shall be missed within seconds, not minutes.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
            # Likewise a triggerer, whose triggers another one then takes.
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            **settings,
        }

    def install(self) -> None:
        """Takes the steps of docs/how-to-install.md that come before the settings: folders side by side, requirements."""
        for name in ("dags", "plugins", "include"):
            ignored = shutil.ignore_patterns("__pycache__", "node_modules")
            shutil.copytree(REPOSITORY / name, self.folder / "project" / name, ignore=ignored)
        uv = Path(sys.executable).with_name("uv")
        venv = self.folder / "venv"
        # The cache that this environment came from, so that nothing is downloaded twice.
        network = {name: value for name, value in os.environ.items() if name.startswith(NETWORK)}
        environment = {"HOME": os.environ["HOME"], "PATH": os.environ["PATH"], **network}
        requirements = str(REPOSITORY / "requirements-oldest.txt")
        for command in (
            [uv, "venv", "--quiet", "--python", sys.executable, venv],
            [uv, "pip", "sync", "--quiet", "--python", venv / "bin" / "python", "--require-hashes", requirements],
        ):
            subprocess.run(command, env=environment, check=True, timeout=400)

    def run(self, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command in this environment, as somebody who stands in the project's folder.

        :param command: the program and its arguments.
        :param variables: to set for it.
        """
        return subprocess.run(
            command,
            cwd=self.folder / "project",
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start(self) -> None:
        """Starts Redis and Airflow's components."""
        redis = shutil.which("redis-server")
        assert redis
        self._start("redis", redis, "--port", str(self._redis_port), "--bind", HOST, "--save", "")
        for worker in WORKERS:
            self._start(worker, self._airflow, "celery", "worker", "--celery-hostname", worker, "--skip-serve-logs")
        self._start("api-server", self._airflow, "api-server", "--host", HOST)
        self._start("scheduler", self._airflow, "scheduler", "--skip-serve-logs")
        self._start("dag-processor", self._airflow, "dag-processor")

    def wait_for_events(self) -> None:
        """Goes over to ``CHT_SYNC_MODE=event``: the DAG is read anew, and a triggerer starts."""
        self.environment["CHT_SYNC_MODE"] = "event"
        self._processes["dag-processor"].ask_to_stop()
        self._processes["dag-processor"].stop()
        self._start("dag-processor", self._airflow, "dag-processor")
        self.start_triggerer()

    def start_triggerer(self) -> None:
        """Starts a triggerer."""
        self._start("triggerer", self._airflow, "triggerer", "--skip-serve-logs")

    def kill_triggerer(self) -> None:
        """Kills the triggerer and all that belongs to it."""
        process = self._processes.pop("triggerer")
        self._kill(process.pid)
        process.stop()

    @property
    def _airflow(self) -> str:
        return str(self.folder / "venv" / "bin" / "airflow")

    def _start(self, name: str, *command: str) -> None:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        process = GuardedProcess(name, place)
        process.claim()
        self._processes[name] = process
        # The environment of the tests must not shine through.
        environment = self.folder / "environment.json"
        environment.write_text(json.dumps(self.environment))
        process.start([sys.executable, "-I", "-c", ENTER, str(environment), *command])

    def check(self) -> None:
        """Looks whether every component is alive."""
        for name, process in self._processes.items():
            assert process.running, f"{name}: {process.log_tail()}"

    def logs(self) -> str:
        """The end of what each component has said."""
        return "\n".join(f"--- {name}\n{process.log_tail()}" for name, process in self._processes.items())

    def kill_worker_of(self, pid: int) -> str:
        """Kills a worker and its tasks at one blow, as a lost machine would end.

        :param pid: of one of its tasks.
        :return: which of the workers it was.
        """
        above = {each.pid for each in psutil.Process(pid).parents()}
        for name in WORKERS:
            guard = self._processes[name].pid
            if guard in above:
                self._kill(guard)
                del self._processes[name]
                return name
        raise AssertionError(f"no worker has a task with pid {pid}")

    @staticmethod
    def _kill(guard: int | None) -> None:
        tree = psutil.Process(guard).children(recursive=True)
        for each in tree:
            each.suspend()
        for each in tree:
            each.kill()

    def stop(self) -> None:
        """Ends everything, also what a worker that was killed has left behind."""
        for process in self._processes.values():
            process.ask_to_stop()
        for process in self._processes.values():
            process.stop()
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("AIRFLOW_HOME") == str(self.folder / "airflow"):
                    process.kill()
