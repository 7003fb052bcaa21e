from datetime import datetime, timedelta

import pytest

from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
RAW = RawTable("v1", "couchdb")


@pytest.fixture
def runs(store):
    store.claim("h/d")
    return ModelRuns(postgres_connection(), RAW, "v1")


def test_models_have_no_work_before_the_first_document(runs):
    assert runs.state().reason_to_run("a") is None


def test_looking_creates_nothing(database):
    assert ModelRuns(postgres_connection(), RAW, "v1").state().reason_to_run("a") is None
    assert database.tables() == set()


def test_models_run_once_for_what_arrived(runs, store):
    store.save("h/d", page_of({"_id": "a"}, last_seq="1"), None)
    state = runs.state()
    assert "never completed a run" in state.reason_to_run("a")
    runs.record(state.newest, "a")
    assert runs.state().reason_to_run("a") is None
    store.save("h/d", page_of({"_id": "b"}, last_seq="2"), "1")
    assert "documents arrived" in runs.state().reason_to_run("a")


def test_models_run_for_what_lies_beside_the_table(runs, store):
    """They read it, and no row of the table changes with it."""
    store.claim("h/e")
    store.save("h/d", page_of({"_id": "settings"}, last_seq="1"), None)
    for seq, document in enumerate(({"_id": "settings"}, {"_id": "settings", "_rev": "2-x", "a": 1}), 1):
        runs.record(runs.state().newest, "a")
        assert runs.state().reason_to_run("a") is None
        assert store.save("h/e", page_of(document, last_seq=f"{seq}"), f"{seq - 1}" if seq > 1 else None).rows == 0
        assert "documents arrived" in runs.state().reason_to_run("a")
    newest, modelled_to = runs.record(runs.state().newest, "a")
    assert newest == modelled_to
    store.save("h/d", page_of({"_id": "b"}, last_seq="2"), "1")
    assert runs.look()[0] > modelled_to
    assert runs.state().newest == runs.look()[0]


def test_another_project_runs_all_again(runs, store):
    store.save("h/d", page_of({"_id": "a"}), None)
    runs.record(runs.state().newest, "a")
    assert "another version" in runs.state().reason_to_run("b")


def test_selections_and_schemas_are_told_apart(runs, store):
    store.save("h/d", page_of({"_id": "a"}), None)
    runs.record(runs.state().newest, "a")
    for other in (ModelRuns(postgres_connection(), RAW, "v1", "tag:base"), ModelRuns(postgres_connection(), RAW, "v2")):
        assert "never completed a run" in other.state().reason_to_run("a")


def test_a_batch_shows_how_far_it_came(runs, database):
    stamp = datetime(2024, 3, 1, 10)
    assert runs.reached(postgres_connection()) is None
    database.rows("create table v1.document_metadata (saved_timestamp timestamp)")
    database.rows("insert into v1.document_metadata values (%s)", stamp)
    assert runs.reached(postgres_connection()) == stamp
    # The starter's own table tells more: tombstones leave no row in document_metadata.
    database.rows("create table v1.dbt_progress (model text, modelled_until timestamp)")
    database.rows("insert into v1.dbt_progress values ('document_metadata', %s)", stamp + timedelta(hours=1))
    assert runs.reached(postgres_connection()) == stamp + timedelta(hours=1)


def test_a_last_batch_has_seen_what_lies_beside_the_table(runs, store, database):
    store.claim("h/e")
    stamp = store.save("h/d", page_of({"_id": "settings"}, last_seq="1"), None).stamp
    store.save("h/e", page_of({"_id": "settings"}, last_seq="1"), None)
    database.rows("create table v1.dbt_progress (model text, modelled_until timestamp)")
    database.rows("insert into v1.dbt_progress values ('document_metadata', %s)", stamp)
    assert runs.reached(postgres_connection()) == runs.state().newest > stamp
    store.save("h/d", page_of({"_id": "b"}, last_seq="2"), "1")
    assert runs.reached(postgres_connection()) == stamp
