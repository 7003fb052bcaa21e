"""One database for all scenes of the status page, and two ways to ask for the page."""

from __future__ import annotations

import pytest
from airflow.api_fastapi.common.db.common import _get_session
from airflow.models import import_all_models
from airflow.models.dagrun import DagRun
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from cht_sync.monitoring.web.access import may_read, sees_documents
from cht_sync.monitoring.web.app import create_app
from tests.integration.conftest import Database
from tests.integration.monitoring.web.airflow_runs import set_runs
from tests.integration.monitoring.web.scenes import Scenes
from tests.integration.monitoring.web.status_server import METRICS_TOKEN, StatusServer
from tests.servers import mine

DATABASE = mine("cht_status_page")


@pytest.fixture(scope="module")
def server(server_folder, postgres_server):
    """A real API server of Airflow, with its real permissions."""
    postgres_server.create_database(DATABASE)
    settings = {
        "POSTGRES_HOST": postgres_server.host,
        "POSTGRES_PORT": str(postgres_server.port),
        "POSTGRES_USER": postgres_server.user,
        "POSTGRES_PASSWORD": postgres_server.password,
        "POSTGRES_DB": DATABASE,
        "CHT_METRICS_TOKEN": METRICS_TOKEN,
    }
    folder = server_folder / "status-airflow"
    # SQLite is migrated in a fourth of the time; nothing but the API server uses it.
    server = StatusServer(folder, f"sqlite:///{folder}/airflow.db", settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


class Served:
    """The application in this process, for a user who may read it; the real server's tests are about who may."""

    def __init__(self):
        # One connection: each would have a database of its own in memory.
        self._engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
        import_all_models()  # keys of the tables that are needed lead to all others
        DagRun.metadata.create_all(self._engine)
        app = create_app()
        app.dependency_overrides[may_read] = lambda: None
        app.dependency_overrides[sees_documents] = lambda: True
        app.dependency_overrides[_get_session] = self._session
        outside = FastAPI()
        outside.mount("/cht-sync", app)
        self._client = TestClient(outside)

    def _session(self):
        with Session(self._engine) as session:
            yield session

    def get(self, path, **parameters):
        return self._client.get(f"/cht-sync/{path}", params=parameters)

    def set_runs(self, **runs):
        set_runs(self._engine, **runs)


@pytest.fixture(scope="module")
def served():
    return Served()


@pytest.fixture
def scenes(postgres_server, monkeypatch):
    postgres_server.create_database(DATABASE)
    database = Database(postgres_server.dsn(DATABASE), DATABASE)
    database.name_it(postgres_server, monkeypatch)
    monkeypatch.setenv("CHT_STATUS_SECONDS", "0")
    scenes = Scenes(database)
    scenes.empty()
    return scenes
