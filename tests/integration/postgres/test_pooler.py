"""A pooler between this project and Postgres: one that does not keep sessions is found out."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack, closing, contextmanager

import psycopg2
import pytest

from cht_sync.check.postgres import check_postgres
from cht_sync.errors import SettingsError
from cht_sync.postgres import lock_watch, pooler
from cht_sync.postgres.connection import connect
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from tests.integration.postgres.pgbouncer import PgBouncer

pytestmark = pytest.mark.integration
REFUSED = "is reached through a pooler that keeps no sessions.*pool_mode = session.*'cht_postgres'"


@pytest.fixture
def through(postgres_server, database, monkeypatch, tmp_path_factory):
    """Starts a pgbouncer and lets the settings lead to it."""
    monkeypatch.setattr(pooler, "_kept", set())
    with ExitStack() as stack:

        def start(**options):
            folder = tmp_path_factory.mktemp("pgbouncer")
            for each in (folder, *folder.parents[:2]):
                each.chmod(0o755)
            bouncer = stack.enter_context(PgBouncer(postgres_server, folder, **options))
            monkeypatch.setenv("POSTGRES_HOST", bouncer.host)
            monkeypatch.setenv("POSTGRES_PORT", str(bouncer.port))
            return bouncer

        yield start


def open_and_close():
    connect(postgres_connection(), "test").close()


@contextmanager
def others(bouncer, postgres_server, database, number):
    """Somebody else who uses the pool all the time."""
    ended = threading.Event()

    def work():
        dsn = f"host={bouncer.host} port={bouncer.port} user={postgres_server.user} dbname={database.name}"
        with closing(psycopg2.connect(dsn)) as conn:
            conn.autocommit = True
            while not ended.is_set():
                conn.cursor().execute("select pg_sleep(0.002)")

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("options", [{"default_pool_size": 1}, {}, {"server_round_robin": 1}, {"min_pool_size": 4}])
def test_a_quiet_pooler_without_sessions_is_refused(through, mode, options):
    through(pool_mode=mode, **options)
    for _ in range(3):
        with pytest.raises(SettingsError, match=REFUSED):
            open_and_close()


@pytest.mark.parametrize("options", [{}, {"server_round_robin": 1}, {"default_pool_size": 2}])
@pytest.mark.parametrize("number", [1, 2, 6])
def test_a_busy_one_too(through, postgres_server, database, options, number):
    bouncer = through(pool_mode="transaction", **options)
    with others(bouncer, postgres_server, database, number):
        for _ in range(5):
            with pytest.raises(SettingsError, match=REFUSED):
                open_and_close()


def test_check_and_store_refuse_it_and_write_nothing(through, database, postgres_server):
    through(pool_mode="transaction")
    found = {finding.subject: finding for finding in check_postgres(Settings())}
    assert {name: each.state for name, each in found.items()} == {
        "Postgres, documents": "failed",
        "Postgres, models": "failed",
    }
    assert all("pool_mode = session" in each.text for each in found.values())
    assert not any(postgres_server.password in each.text for each in found.values())
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store, pytest.raises(SettingsError):
        store.prepare()
    assert database.tables() == set()


@pytest.mark.parametrize("options", [{}, {"default_pool_size": 1}, {"server_round_robin": 1}])
def test_one_in_session_mode_is_used_and_looked_at_once(through, monkeypatch, options):
    monkeypatch.setattr(pooler, "PATIENCE_S", 0.5)
    through(pool_mode="session", **options)
    looked = []
    second = pooler._Second
    monkeypatch.setattr(pooler, "_Second", lambda *args: looked.append(1) or second(*args))
    for _ in range(3):
        open_and_close()
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        store.claim("north/medic")
    assert looked == [1]


def test_through_one_in_session_mode_who_holds_a_lock_is_named(through, database, monkeypatch, caplog):
    monkeypatch.setattr(lock_watch, "FIRST_S", 0.3)
    monkeypatch.setattr(lock_watch, "LOOK_S", 0.3)
    through(pool_mode="session")
    with (
        DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store,
        closing(psycopg2.connect(database.dsn, application_name="somebody's psql")) as blocker,
    ):
        store.prepare()
        blocker.cursor().execute("lock table v1.couchdb")
        asking = threading.Thread(target=store.has_rows, args=("north/medic",))
        asking.start()
        until = time.monotonic() + 10
        while "Waiting for a lock" not in caplog.text and time.monotonic() < until:
            time.sleep(0.1)
        blocker.rollback()
        asking.join(30)
        holder = blocker.info.backend_pid
    assert "held by somebody's psql (role " in caplog.text
    assert f"Postgres backend {holder}, " in caplog.text


def test_without_a_pooler_no_second_connection_is_opened(database, monkeypatch):
    monkeypatch.setattr(pooler, "_Second", None)
    with closing(connect(postgres_connection(), "test")) as conn:
        assert not conn.autocommit
        assert conn.info.transaction_status == psycopg2.extensions.TRANSACTION_STATUS_IDLE
