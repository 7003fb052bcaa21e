"""A task that waits for a lock says so, and who holds it."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import psycopg2
import pytest

from cht_sync.errors import CheckpointConflictError, StoreError
from cht_sync.postgres import connection, lock_watch
from cht_sync.postgres.lock_watch import LockWatch
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store import claims
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
RAW, SOURCE = RawTable("v1", "couchdb"), "h/medic"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """What happens after ten seconds happens after less than one."""
    monkeypatch.setattr(lock_watch, "FIRST_S", 0.3)
    monkeypatch.setattr(lock_watch, "LOOK_S", 0.3)
    monkeypatch.setattr(claims, "FIRST_S", 0.3)


@pytest.fixture
def blocker(database):
    with closing(psycopg2.connect(database.dsn, application_name="somebody's psql")) as conn:
        yield conn


def prepared():
    opened = DocumentStore(postgres_connection(), RAW, tolerance=0)
    opened.prepare()
    return opened


def waits(caplog):
    return [each for each in caplog.messages if each.startswith("Waiting for")]


def until(happens, seconds=30):
    deadline = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def test_a_page_that_waits_for_the_table(blocker, caplog):
    with prepared() as opened:
        opened.claim(SOURCE)
        blocker.cursor().execute("lock table v1.couchdb")
        page = page_of({"_id": "a", "_rev": "1-a"})
        work = threading.Thread(target=lambda: opened.save(SOURCE, page, None), daemon=True)
        work.start()
        until(lambda: waits(caplog))
        time.sleep(1.5)
        blocker.rollback()
        work.join(20)
    (said,) = waits(caplog)
    assert said.startswith(f"Waiting for a lock, to store a page of {SOURCE}, for ")
    assert "somebody's psql (role " in said
    assert f"Postgres backend {blocker.info.backend_pid}, in a transaction since 20" in said


def test_who_gives_up_names_who_held_it(blocker, caplog, monkeypatch):
    monkeypatch.setattr(connection, "LOCK_TIMEOUT", "2s")
    with prepared() as opened:
        opened.claim(SOURCE)
        blocker.cursor().execute("lock table v1.couchdb")
        with pytest.raises(StoreError, match=r"55P03.*held by somebody's psql \(role .*pg_terminate_backend"):
            opened.save(SOURCE, page_of({"_id": "a", "_rev": "1-a"}), None)


def test_a_migration_that_waits_for_another(database, blocker, caplog):
    prepared().close()
    database.rows("delete from v1.couchdb_migration where name like '%0018%'")
    blocker.cursor().execute("lock table v1.couchdb_migration in share row exclusive mode")
    work = threading.Thread(target=lambda: prepared().close(), daemon=True)
    work.start()
    until(lambda: waits(caplog))
    blocker.rollback()
    work.join(20)
    assert "create the tables of schema 'v1'" in waits(caplog)[0]
    assert "somebody's psql" in waits(caplog)[0]


def test_a_claim_that_waits(database, caplog, monkeypatch):
    with prepared() as first, prepared() as second:
        first.claim(SOURCE)
        with pytest.raises(CheckpointConflictError):
            second.claim(SOURCE, patience=1.5)
    (said,) = waits(caplog)
    assert "cht_sync (Postgres backend " in said
    assert f"which writes {SOURCE}" in said


def test_a_dbt_that_waits_for_a_table(database, blocker, caplog):
    cursor = blocker.cursor()
    cursor.execute("create table model ()")
    blocker.commit()
    cursor.execute("lock table model")

    def model():
        with closing(psycopg2.connect(database.dsn, application_name="dbt")) as conn:
            conn.cursor().execute("select from model")

    with LockWatch(dbt_connection(), "run dbt").of_program("dbt"):
        work = threading.Thread(target=model, daemon=True)
        work.start()
        until(lambda: waits(caplog))
        blocker.rollback()
        work.join(20)
    assert "to run dbt" in waits(caplog)[0]
    assert "somebody's psql" in waits(caplog)[0]


def test_who_does_not_wait_says_nothing(database, caplog):
    with prepared() as opened:
        opened.claim(SOURCE)
        with opened._session.transaction("sleep") as cursor:
            cursor.execute("select pg_sleep(1.5)")
    assert waits(caplog) == []
