"""A first load into an empty table does without two indexes, and they are there again whatever comes between."""

from __future__ import annotations

import psycopg2
import pytest

from cht_sync.postgres.locks import Locks
from cht_sync.store import deferred_indexes
from tests.integration.operators.test_operator import Couch, copy
from tests.integration.sync.test_first_load import Loaded, large

pytestmark = pytest.mark.integration

ALL = {"couchdb_pkey", "_deleted", "saved_timestamp", "source"}
FEWER = {"couchdb_pkey", "saved_timestamp"}


@pytest.fixture
def loaded(couchdb_server, database, monkeypatch):
    loaded = large(couchdb_server, database, monkeypatch)
    loaded.fill(20)
    return loaded


def indexes(database, *, valid=True):
    query = (
        "select i.relname from pg_index x join pg_class i on i.oid = x.indexrelid"
        " where x.indrelid = 'v1.couchdb'::regclass and x.indisvalid = %s"
    )
    return {name for (name,) in database.rows(query, valid)}


def postponed(database):
    return {name for (name,) in database.rows("select name from v1.couchdb_postponed_index")}


def begin(loaded):
    """A run that ends in the midst of the load."""
    copy(loaded.couch, batch_size=5, time_budget=1e-9)
    assert loaded.checkpoint() is None


def test_they_are_dropped_for_the_load_and_built_before_the_feed_takes_over(loaded, store):
    before = loaded.database.rows("select indexdef from pg_indexes where tablename = 'couchdb' order by indexname")
    begin(loaded)
    assert indexes(loaded.database) == FEWER
    assert postponed(loaded.database) == {"_deleted", "source"}
    assert copy(loaded.couch)["drained"]
    assert indexes(loaded.database) == ALL
    assert postponed(loaded.database) == set()
    after = loaded.database.rows("select indexdef from pg_indexes where tablename = 'couchdb' order by indexname")
    assert after == before
    assert loaded.differences() == []


def test_a_table_with_many_rows_keeps_them(loaded, store, monkeypatch):
    monkeypatch.setattr(deferred_indexes, "MOST_ROWS", 3)
    loaded.database.rows("insert into v1.couchdb (_id) select n::text from generate_series(1, 3) n")
    loaded.database.rows("insert into v1.couchdb (_id) values ('4')")
    begin(loaded)
    assert indexes(loaded.database) == ALL


def test_a_table_with_a_few_rows_of_another_source_does_not(loaded, store):
    loaded.database.rows("insert into v1.couchdb (_id, source) values ('1', 'another')")
    begin(loaded)
    assert indexes(loaded.database) == FEWER


def test_an_index_that_somebody_made_otherwise_stays(loaded, store):
    loaded.database.rows("drop index v1.source, v1._deleted")
    loaded.database.rows("create index source on v1.couchdb (source) where source is not null")
    loaded.database.rows("create index two on v1.couchdb (_deleted, source)")
    begin(loaded)
    assert indexes(loaded.database) == {*FEWER, "source", "two"}
    copy(loaded.couch)
    assert indexes(loaded.database) == {*FEWER, "source", "two"}


def test_where_somebody_reads_the_table_they_stay_and_the_load_goes_on(loaded, store, caplog):
    reader = psycopg2.connect(loaded.database.dsn)
    reader.cursor().execute("select count(*) from v1.couchdb")
    with caplog.at_level("INFO"):
        begin(loaded)
    reader.close()
    assert indexes(loaded.database) == ALL
    assert "stay while it is loaded (canceling statement due to lock timeout)" in caplog.text
    assert copy(loaded.couch)["drained"]


def test_where_they_cannot_be_built_the_feed_goes_on_and_the_next_try_is_an_hour_later(
    loaded, store, monkeypatch, caplog
):
    begin(loaded)
    monkeypatch.setattr(deferred_indexes, "BUILD_TIMEOUT", "1s")
    writer = psycopg2.connect(loaded.database.dsn)
    writer.cursor().execute("insert into v1.couchdb (_id) values ('somebody is writing')")
    assert copy(loaded.couch)["drained"]
    assert "Index _deleted could not be built; the next try is in an hour." in caplog.text
    # What was left behind slows writers down and helps no reader.
    assert indexes(loaded.database, valid=False) == {"_deleted", "source"}
    writer.close()
    caplog.clear()
    copy(loaded.couch)
    assert indexes(loaded.database) == FEWER
    loaded.database.rows("update v1.couchdb_postponed_index set failed_at = now() - interval '61 minutes'")
    copy(loaded.couch)
    assert (indexes(loaded.database), postponed(loaded.database)) == (ALL, set())
    assert loaded.differences() == []


def test_one_that_somebody_has_built_meanwhile_is_taken_for_what_it_is(loaded, store):
    begin(loaded)
    loaded.database.rows("create index source on v1.couchdb (source)")
    assert copy(loaded.couch)["drained"]
    assert (indexes(loaded.database), postponed(loaded.database)) == (ALL, set())


def test_a_load_that_was_given_up_does_not_keep_them_away(loaded, store, couchdb_server):
    begin(loaded)
    other = Loaded(Couch(couchdb_server), loaded.database)
    other.couch.write({"_id": "another"})
    copy(other.couch)
    assert indexes(loaded.database) == FEWER, "the other load is under way"
    loaded.database.rows("update v1.couchdb_first_load set updated_at = now() - interval '25 hours'")
    copy(other.couch)
    assert (indexes(loaded.database), postponed(loaded.database)) == (ALL, set())


def test_two_do_not_build_at_once(loaded, store):
    begin(loaded)
    another = psycopg2.connect(loaded.database.dsn)
    with another, another.cursor() as cursor:
        assert Locks("v1").take(cursor, "v1.couchdb indexes")
    assert copy(loaded.couch)["drained"]
    assert indexes(loaded.database) == FEWER
    another.close()
    copy(loaded.couch)
    assert indexes(loaded.database) == ALL
