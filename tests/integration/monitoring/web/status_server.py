"""A real API server of Airflow, with the status page and users who may and may not read it."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager

import requests
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from sqlalchemy import create_engine, delete, insert

from include.demo.airflow import REPOSITORY, AirflowServices
from include.demo.process import GuardedProcess
from include.demo.remembered import HOST, choose_port
from include.demo.servers import foreign
from tests.integration.monitoring.web.airflow_runs import set_runs

VIEWER, STRANGER, OPERATOR = "viewer", "stranger", "operator"
METRICS_TOKEN = "for-prometheus-alone"


class Strangers(SimpleAuthManager):
    """Airflow's simple auth manager, with a user who may sign in and read every DAG but this one."""

    def is_authorized_dag(self, *, method, user, access_entity=None, details=None):
        if user.username == STRANGER and details and details.id == "cht_sync":
            return False
        return super().is_authorized_dag(method=method, user=user, access_entity=access_entity, details=details)


class StatusServer(AirflowServices):
    """The API server alone: what a scheduler would write to Airflow's database is put there by hand.

    :param folder: for its files.
    :param metadata: SQLAlchemy address of Airflow's database.
    :param settings: of the sync.
    """

    def __init__(self, folder, metadata, settings):
        super().__init__(folder, metadata, {**foreign(os.environ), **settings})
        self._metadata = metadata
        self._tokens = {}

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = choose_port(self.folder, None)
        self._migrate(self.environment())
        self._start({"api-server": ["--host", HOST]})
        server: GuardedProcess = self._processes[0]
        server.wait_until(self._answers, 120)

    def environment(self):
        given = super().environment()
        return {
            **given,
            "AIRFLOW__CORE__AUTH_MANAGER": f"{__name__}.Strangers",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{VIEWER}:viewer,{STRANGER}:viewer,{OPERATOR}:op",
            "CHT_STATUS_SECONDS": "0",
            "PYTHONPATH": os.pathsep.join([given["PYTHONPATH"], str(REPOSITORY)]),
        }

    def _answers(self):
        try:
            return requests.get(f"{self.url}/api/v2/version", timeout=5).ok
        except requests.RequestException:
            return False

    def token(self, user=OPERATOR):
        if user not in self._tokens:
            password = json.loads((self.folder / "passwords.json").read_text())[user]
            answer = requests.post(f"{self.url}/auth/token", json={"username": user, "password": password}, timeout=30)
            answer.raise_for_status()
            self._tokens[user] = answer.json()["access_token"]
        return self._tokens[user]

    def get(self, path, user=OPERATOR, **parameters):
        headers = {"Authorization": f"Bearer {self.token(user)}"} if user else {}
        return requests.get(
            f"{self.url}/cht-sync/{path}", headers=headers, params=parameters, timeout=30, allow_redirects=False
        )

    @contextmanager
    def connection(self, **fields):
        """A connection `cht_postgres` in Airflow's own database, as people make it in the UI."""
        from airflow.models.connection import Connection

        engine = create_engine(self._metadata)
        made = {"conn_id": "cht_postgres", "conn_type": "postgres", "is_encrypted": False, "is_extra_encrypted": False}
        with engine.begin() as conn:
            conn.execute(insert(Connection.__table__).values(**made, **fields))
        try:
            yield
        finally:
            with engine.begin() as conn:
                conn.execute(delete(Connection.__table__))
            engine.dispose()

    def set_runs(self, **runs):
        engine = create_engine(self._metadata)
        set_runs(engine, **runs)
        engine.dispose()
