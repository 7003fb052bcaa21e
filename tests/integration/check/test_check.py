"""``python -m cht_sync check`` against real servers: what is right, and each thing that may be wrong."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest
import requests

from cht_sync.check.command import check
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from tests.servers import mine

pytestmark = pytest.mark.integration
NAME = mine("check")
SECRETS = ("r0le-pässword", "wr0ng-pässword")


@pytest.fixture
def couchdb(couchdb_server, monkeypatch):
    requests.put(f"{couchdb_server.url}/{NAME}", auth=couchdb_server.auth, timeout=10).raise_for_status()
    for variable, value in {
        "COUCHDB_HOST": couchdb_server.host,
        "COUCHDB_PORT": str(couchdb_server.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
        "COUCHDB_DBS": NAME,
    }.items():
        monkeypatch.setenv(variable, value)
    yield couchdb_server
    requests.delete(f"{couchdb_server.url}/{NAME}", auth=couchdb_server.auth, timeout=10)


def run(*secrets: str) -> tuple[int, dict[str, str]]:
    lines: list[str] = []
    code = check(show=lines.append)
    assert not any(secret in line for secret in (*SECRETS, *secrets) for line in lines)
    return code, {line.split(":", 1)[0]: line for line in lines}


def test_what_is_missing_is_told_line_by_line(couchdb, database, postgres_server, monkeypatch, tmp_path):
    monkeypatch.setenv("CHT_PIPELINE_DIR", str(tmp_path))
    # A server that is given may have a word for its password that sentences need.
    secrets = {couchdb.password, postgres_server.password} - {"password"}
    source = f"Source {couchdb.host}/{NAME}"

    code, lines = run(*secrets)
    assert code == 0
    assert "0 documents" in lines[f"ok       {source}"]
    assert "the first run applies 0001_" in lines["ok       Table v1.couchdb"]
    assert {"ok       Clock of cht_couchdb", "ok       Clock of Postgres", "ok       Rights, models"} <= set(lines)
    assert database.tables() == set()

    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
    role = f"poor_{database.name}"
    with closing(psycopg2.connect(database.dsn)) as conn, conn, conn.cursor() as cursor:
        cursor.execute(f"create role {role} login password 'r0le-pässword'")
        cursor.execute(f"revoke temporary on database {database.name} from public; grant usage on schema v1 to {role}")
    monkeypatch.setenv("DBT_POSTGRES_USER", role)
    monkeypatch.setenv("DBT_POSTGRES_PASSWORD", "r0le-pässword")
    monkeypatch.setenv("COUCHDB_DBS", f"{NAME}, gone")
    code, lines = run(*secrets)
    assert code == 1
    assert "every migration is applied" in lines["ok       Table v1.couchdb"]
    assert f"ok       {source}" in lines
    assert "404" in lines[f"failed   Source {couchdb.host}/gone"]
    assert (
        f"role '{role}' may not create tables in schema 'v1', nor make temporary tables in database"
        f" '{database.name}', nor select on v1.couchdb, nor select on v1.couchdb_collision"
        in lines["failed   Rights, models"]
    )

    # Not the administrator: CouchDB locks an account out after a few wrong passwords.
    monkeypatch.setenv("COUCHDB_USER", mine("nobody-checks"))
    monkeypatch.setenv("COUCHDB_PASSWORD", "wr0ng-pässword")
    monkeypatch.setenv("POSTGRES_USER", role)
    code, lines = run(*secrets)
    assert code == 1
    assert "COUCHDB_PASSWORD" in lines["failed   CouchDB cht_couchdb"]
    assert "_USER, _PASSWORD and _DB" in lines["failed   Postgres, documents"]

    monkeypatch.setenv("POSTGRES_PASSWORD", "r0le-pässword")
    code, lines = run(*secrets)
    assert "alter v1.couchdb, which it does not own" in lines["failed   Rights, documents"]
