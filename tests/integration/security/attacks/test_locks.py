"""Who reads dashboards cannot hold up the copy or the models by the locks that these take."""

from __future__ import annotations

import hashlib
import threading
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors

from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.postgres.connection import connect
from cht_sync.postgres.locks import Locks
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of
from tests.integration.security.roles import PASSWORD, Roles
from tests.integration.security.starter import run_models

pytestmark = pytest.mark.integration
SOURCE = "couch.example.org/medic"
#: Numbers of advisory locks that releases before took, which anybody can compute.
OLD = [
    f"hashtextextended('{name}', {seed})"
    for name, seed in [
        (f"v1.couchdb {SOURCE}", 2), ("v1.couchdb indexes", 2), ("v1.couchdb order", 1), ("cht_sync schema", 0),
        ("v1 incidents", 4), ("cht_sync deployment v1", 0),
    ]
] + [str(int.from_bytes(hashlib.sha256(b"cht_sync dbt v1").digest()[:8], "big", signed=True))]  # fmt: skip


@pytest.fixture
def roles(postgres_server, database, monkeypatch):
    made = Roles(postgres_server, database)
    done = made.make()
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("POSTGRES_USER", made.sync)
    monkeypatch.setenv("DBT_POSTGRES_USER", made.dbt)
    for name in ("POSTGRES_PASSWORD", "DBT_POSTGRES_PASSWORD"):
        monkeypatch.setenv(name, PASSWORD)
    return made


@pytest.fixture
def dashboard(roles):
    where = {"host": roles.server.host, "port": roles.server.port, "dbname": roles.database.name}
    with closing(psycopg2.connect(user=roles.dashboard, password=PASSWORD, **where)) as conn:
        conn.autocommit = True
        yield conn


def copied(name):
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        store.claim(SOURCE)
        store.save(SOURCE, page_of({"_id": name, "_rev": "1-a"}), store.checkpoint(SOURCE))


def test_advisory_locks_of_a_stranger_stop_nothing(roles, dashboard):
    with dashboard.cursor() as cursor:
        for number in OLD:
            cursor.execute(f"select pg_advisory_lock({number})")
        worker = threading.Thread(target=copied, args=("a",), daemon=True)
        worker.start()
        worker.join(30)
        assert not worker.is_alive()
        with schema_lock(Settings(), "v1", "dbt"):
            pass
    assert roles.database.value("select count(*) from v1.couchdb") == 1


def test_models_run_beside_advisory_locks_of_a_stranger(roles, dashboard, tmp_path):
    copied("a")
    with dashboard.cursor() as cursor:
        for name in ("dbt_results", "dbt_progress", "cht_sync api.refresh"):
            cursor.execute("select pg_advisory_lock(hashtext(%s))", (name,))
        run_models(tmp_path, "v1")
    assert roles.database.value("select count(*) from v1.document_metadata") == 1


def test_the_rows_of_locks_are_locked_only_by_their_owner(roles, dashboard):
    copied("a")
    with schema_lock(Settings(), "v1", "dbt"):
        pass
    for role, table in [
        (roles.dashboard, "couchdb_lock"), (roles.dashboard, "couchdb_dbt_lock"), (roles.dbt, "couchdb_lock"),
    ]:  # fmt: skip
        roles.refuses(
            role,
            f"select from v1.{table} for update",
            f"select from v1.{table} for key share",
            f"update v1.{table} set pid = pg_backend_pid()",
            f"insert into v1.{table} (name) values ('x')",
            f"lock table v1.{table} in row share mode" if role == roles.dashboard else f"delete from v1.{table}",
        )


def test_the_sign_of_a_holder_is_worth_nothing_to_a_stranger(roles, dashboard):
    """Everybody sees it in ``pg_locks``, and may wait for it or take it once it is given back."""
    locks = Locks("v1")
    with closing(connect(postgres_connection(), "first")) as first:
        copied("a")
        with first, first.cursor() as cursor:
            assert locks.take(cursor, "mine")
            cursor.execute("select sign from v1.couchdb_lock where name = 'mine'")
            (sign,) = cursor.fetchone()
        with dashboard.cursor() as cursor:
            cursor.execute("select pg_try_advisory_lock(%s)", (sign,))
            assert cursor.fetchone() == (False,)
    with dashboard.cursor() as cursor:
        cursor.execute("set statement_timeout = '10s'; select pg_advisory_lock(%s)", (sign,))
    # As if the stranger had been given the number of the process, too.
    pid = dashboard.info.backend_pid
    roles.database.rows("update v1.couchdb_lock set pid = %s where name = 'mine'", pid)
    with closing(connect(postgres_connection(), "second")) as second, second, second.cursor() as cursor:
        assert locks.holder(cursor, "mine") == ""
        assert locks.take(cursor, "mine")


def test_a_lock_that_is_held_is_not_taken_again(roles):
    copied("a")
    locks = Locks("v1")
    with (
        closing(connect(postgres_connection(), "first")) as first,
        closing(connect(postgres_connection(), "other")) as other,
    ):
        with first, first.cursor() as cursor:
            locks.wait(cursor, "mine")
        with first, first.cursor() as cursor:
            assert locks.take(cursor, "mine")
            with other, other.cursor() as beside:
                assert not locks.take(beside, "mine")  # not yet committed
        with other, other.cursor() as cursor:
            assert not locks.take(cursor, "mine")
            assert locks.holder(cursor, "mine").startswith("first (Postgres backend ")
            assert locks.take(cursor, "other")
        with first, first.cursor() as cursor:
            assert locks.take(cursor, "mine")  # it is its own
            cursor.execute("select pg_advisory_unlock_all()")  # as a pooler does before it hands a session on
        with other, other.cursor() as cursor:
            assert locks.take(cursor, "mine")


def test_only_one_of_many_takes_a_lock_that_is_free(roles):
    copied("a")
    locks, won, ready = Locks("v1"), [], threading.Barrier(8)
    done = threading.Barrier(8)

    def compete():
        with closing(connect(postgres_connection(), "one of many")) as conn:
            for number in range(20):
                ready.wait(60)
                with conn, conn.cursor() as cursor:
                    taken = locks.take(cursor, f"lock {number}")
                if taken:
                    won.append(number)
                done.wait(60)

    threads = [threading.Thread(target=compete) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(won) == sorted(set(won))


def test_a_role_of_dashboards_may_not_lock_what_is_copied(roles, dashboard):
    copied("a")
    with dashboard.cursor() as cursor, pytest.raises(errors.InsufficientPrivilege):
        cursor.execute("begin; lock table v1.couchdb in access share mode")
