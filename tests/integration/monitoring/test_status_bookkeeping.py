"""What the status page lives on: when a feed was last read to its end, how long models take, which are held back."""

from __future__ import annotations

import pytest

from cht_sync.dbt.tables.model_results import ModelResult, ModelResults
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
SOURCE, MODEL = "host/medic", "model.a.contact"


def drained(database):
    return database.value("select drained_at from v1.couchdb_progress where source = %s", SOURCE)


def test_a_feed_is_complete_once_it_was_read_to_its_end(database, store):
    store.claim(SOURCE)
    store.save(SOURCE, page_of({"_id": "a"}, last_seq="1-a", pending=2), None)
    assert drained(database) is None
    store.save(SOURCE, page_of({"_id": "b"}, last_seq="2-a", pending=0), "1-a")
    first = drained(database)
    assert first is not None
    store.save(SOURCE, page_of({"_id": "c"}, last_seq="3-a", pending=5), "2-a")
    assert drained(database) == first
    store.save(SOURCE, page_of({"_id": "d"}, last_seq="8-a", pending=0), "3-a")
    assert drained(database) > first
    store.restart(SOURCE, "17")
    assert drained(database) is None


def test_a_copy_that_was_complete_before_the_upgrade_still_is(database, store):
    database.rows(
        "insert into v1.couchdb_progress (source, seq, pending, updated_at) values (%s, '9', 0, now()), ('h/b', '9', 4, now())",
        SOURCE,
    )
    database.rows("delete from v1.couchdb_migration where name like '%%0010_status'")
    assert store.prepare() == ["0010_status.sql"]
    assert database.rows(
        "select drained_at = updated_at from v1.couchdb_progress order by source desc"
    ) == [(True,), (None,)]  # fmt: skip


@pytest.fixture
def memory(store):
    return ModelResults(postgres_connection(), RawTable("v1", "couchdb"), "v1")


def test_the_last_thirty_durations_are_kept(database, memory):
    for seconds in range(35):
        memory.record([ModelResult(MODEL, "contact", "success", seconds=float(seconds))])
    memory.record([ModelResult(MODEL, "contact", "skipped", seconds=0.0)])
    kept = database.value("select recent_seconds from v1.couchdb_model_result")
    assert kept == [float(each) for each in range(5, 35)]


def test_a_model_is_held_back_until_it_runs_again(database, memory):
    memory.record([ModelResult(name, name, "success") for name in (MODEL, "model.a.person")])
    memory.hold([MODEL], "person fails.")
    assert database.rows("select model, held from v1.couchdb_model_result order by 1") == [
        (MODEL, "person fails."), ("model.a.person", None),
    ]  # fmt: skip
    memory.record([ModelResult(MODEL, MODEL, "success")])
    assert database.rows("select held from v1.couchdb_model_result") == [(None,), (None,)]


def test_before_the_upgrade_models_run_all_the_same(database, memory):
    """The table is of before, because the copy has not run yet since."""
    database.rows("alter table v1.couchdb_model_result drop column held")
    memory.record([ModelResult(MODEL, "contact", "success")])
    memory.hold([MODEL], "why")
    assert memory.failing() == {}
    assert database.rows("select * from v1.couchdb_model_result") == []
