"""A real Airflow with the small dbt project, whose DAGs run when a test triggers them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import psycopg2
import requests

from cht_sync.dbt.deploy.install import install
from cht_sync.settings.settings import Settings
from include.demo.airflow import AirflowServices
from include.demo.client import DONE, AirflowClient
from tests.servers import mine
from tests.small_project import write_small_project

T = TypeVar("T")


def wait_for(happens: Callable[[], T], seconds: float = 90) -> T:
    """What a call gives once it is something.

    :param happens: the call.
    :param seconds: for which it is tried.
    """
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.3)
    return found


class SmallDeployment:
    """The deployment; its databases have the name of its folder.

    :param folder: for everything; is made.
    :param couchdb: the server.
    :param postgres: the server.
    :param files: of the dbt project, beside or in place of its own.
    """

    # Settings beside those of every one, and variables that Airflow gets beside them.
    settings: dict[str, str] = {}
    airflow_has: dict[str, str] = {}

    def __init__(self, folder: Path, couchdb: Any, postgres: Any, files: dict[str, str] | None = None) -> None:
        folder.mkdir()
        name = folder.name
        self.folder, self.couchdb, self.postgres = folder, couchdb, postgres
        self.database, self.metadata, self.source = mine(f"cht_{name}"), mine(f"cht_{name}_airflow"), mine(name)
        self.dsn = postgres.dsn(self.database)
        self.project = write_small_project(folder / "small", files or {})
        self.settings = {
            "COUCHDB_HOST": couchdb.host,
            "COUCHDB_PORT": str(couchdb.port),
            "COUCHDB_USER": couchdb.user,
            "COUCHDB_PASSWORD": couchdb.password,
            "COUCHDB_DBS": self.source,
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_DB": self.database,
            "CHT_SYNC_SCHEDULE": "none",
            "CHT_RECONCILE_SCHEDULE": "none",
            "CHT_DATA_TESTS_SCHEDULE": "none",
            "CHT_PIPELINE_SCHEDULE": "none",
            "CHT_PIPELINE_DIR": str(folder / "pipeline"),
            "DBT_LOCAL_PATH": str(self.project),
            "DBT_PACKAGE_HUB_URL": "http://127.0.0.1:9/",
            **self.settings,
        }
        self.airflow = AirflowServices(
            folder / "airflow",
            postgres.dsn(self.metadata).replace("postgresql:", "postgresql+psycopg2:"),
            {**self.settings, **self.airflow_has},
        )
        self.client = AirflowClient(self.airflow)
        for each in (self.database, self.metadata):
            postgres.create_database(each)
        self.create(self.source)

    @contextmanager
    def running(self, *dag_ids: str) -> Iterator[Self]:
        """Installs the project and runs Airflow, once it knows its DAGs.

        :param dag_ids: of the DAGs to wait for.
        """
        install(Settings(self.settings))
        try:
            self.airflow.start()
            for dag_id in dag_ids:
                self.client.wait_for_dag(dag_id)
            yield self
        finally:
            self.airflow.stop()

    def create(self, database: str) -> None:
        """Makes a database in CouchDB.

        :param database: its name.
        """
        requests.put(f"{self.couchdb.url}/{database}", auth=self.couchdb.auth, timeout=10).raise_for_status()

    def write(self, *documents: dict[str, Any], database: str | None = None) -> None:
        """Writes documents to CouchDB.

        :param documents: each with its ``_id``.
        :param database: where to; that of the deployment by default.
        """
        url = f"{self.couchdb.url}/{database or self.source}/_bulk_docs"
        requests.post(url, json={"docs": documents}, auth=self.couchdb.auth, timeout=10).raise_for_status()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement gives.

        :param query: the statement.
        :param values: its parameters.
        """
        with psycopg2.connect(self.dsn) as conn, conn.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def end(self, run_id: str, dag_id: str = "cht_sync") -> str:
        """The state of a run at its end.

        :param run_id: Airflow's id of the run.
        :param dag_id: its DAG.
        """
        wait_for(lambda: self.client.run(dag_id, run_id)["state"] in DONE, 400)
        return self.client.run(dag_id, run_id)["state"]

    def states(self, run_id: str, dag_id: str = "cht_sync") -> dict[str, str]:
        """State of each task of a run, by its id.

        :param run_id: Airflow's id of the run.
        :param dag_id: its DAG.
        """
        return {task["task_id"]: task["state"] for task in self.client.tasks(dag_id, run_id)}

    def log(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1, tried: int = 1) -> Path:
        """The log file of one try of a task.

        :param dag_id: the DAG.
        :param run_id: Airflow's id of the run.
        :param task_id: the task.
        :param map_index: which of its instances.
        :param tried: which try.
        """
        folder = self.airflow.folder / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return (folder / f"map_index={map_index}" if map_index >= 0 else folder) / f"attempt={tried}.log"
