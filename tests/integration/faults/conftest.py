"""Servers behind proxies that do to connections what they are told."""

from __future__ import annotations

import pytest

from tests.faults.proxy import FaultProxy
from tests.faults.rig import Couch, Rig, shorten_pauses


@pytest.fixture
def rig(couchdb_server, postgres_server, database, monkeypatch):
    """Yield both servers, each with an empty database and behind a proxy; what fails is tried again soon."""
    couch = Couch(couchdb_server)
    shorten_pauses(monkeypatch, 10.0)
    with (
        FaultProxy(couchdb_server.host, couchdb_server.port) as http,
        FaultProxy(postgres_server.host, postgres_server.port) as sql,
    ):
        environment = {
            "POSTGRES_HOST": "127.0.0.1",
            "POSTGRES_PORT": str(sql.port),
            "POSTGRES_USER": postgres_server.user,
            "POSTGRES_PASSWORD": postgres_server.password,
            "POSTGRES_DB": database.name,
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        rig = Rig(couch, database.dsn, http, sql, setenv=monkeypatch.setenv)
        rig.extra()
        yield rig
