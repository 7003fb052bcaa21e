import threading
import time

import psycopg2
import pytest

from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.errors import StoreError
from cht_sync.settings.settings import Settings

pytestmark = pytest.mark.integration


def test_one_at_a_time_on_one_schema(database, caplog, monkeypatch):
    monkeypatch.setattr("cht_sync.dbt.schema_lock.FIRST_S", 0.3)
    order = []

    def second():
        with schema_lock(Settings(), "v1", "second"):
            order.append("second")

    with schema_lock(Settings(), "v1", "cht_sync.models.dbt_run@one"):
        with schema_lock(Settings(), "other", "elsewhere"):
            order.append("other schema")
        waiting = threading.Thread(target=second)
        waiting.start()
        deadline = time.monotonic() + 30
        while not any("waiting for" in each for each in caplog.messages):
            assert time.monotonic() < deadline, "nobody waits"
            time.sleep(0.05)
        order.append("first")
    waiting.join(30)
    assert order == ["other schema", "first", "second"]
    (said,) = (each for each in caplog.messages if "waiting for cht_sync.models.dbt_run@one 20" in each)
    assert "(Postgres backend " in said


def test_postgres_frees_the_lock_of_who_died(database):
    with schema_lock(Settings(), "v1", "first"):
        with psycopg2.connect(database.dsn) as admin, admin.cursor() as cursor:
            cursor.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'first%%' and datname = current_database()"
            )
        with schema_lock(Settings(), "v1", "second"):
            pass


def test_a_connection_that_is_cut_while_waiting_is_told_in_one_sentence(database, monkeypatch):
    def cut(_):
        cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'second%' and datname = current_database()"
        assert database.rows(cut), "it waits under its own name"

    with schema_lock(Settings(), "v1", "first"):
        monkeypatch.setattr("cht_sync.dbt.schema_lock.time.sleep", cut)
        refusal = pytest.raises(StoreError, match="could not wait for dbt on schema 'v1'")
        with refusal as refused, schema_lock(Settings(), "v1", "second"):
            pytest.fail("the first one has the lock")
    assert "\n" not in str(refused.value)


def test_a_time_limit_ends_the_wait(database, monkeypatch):
    def limit(_):
        raise TimeoutError

    with schema_lock(Settings(), "v1", "first"):
        monkeypatch.setattr("cht_sync.dbt.schema_lock.time.sleep", limit)
        with pytest.raises(TimeoutError), schema_lock(Settings(), "v1", "second"):
            pass
    with schema_lock(Settings(), "v1", "third"):
        pass
