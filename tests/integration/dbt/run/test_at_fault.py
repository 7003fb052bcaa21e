from __future__ import annotations

import psycopg2
import pytest

from cht_sync.dbt.run.failing_documents import documents_at_fault
from cht_sync.settings.settings import RawTable
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
RAW = RawTable("v1", "couchdb")
BAD = {f"d{number}" for number in (3, 40, 41, 99)}


@pytest.fixture
def conn(store, database):
    store.claim("h/d")
    documents = [{"_id": f"d{n}", "n": "x%s" if f"d{n}" in BAD else str(n)} for n in range(100)]
    store.save("h/d", page_of(*documents, {"_id": "gone", "n": "x", "_deleted": True}), None)
    conn = psycopg2.connect(database.dsn)
    conn.autocommit = True
    yield conn
    conn.close()


@pytest.mark.parametrize(
    "query",
    [
        "select (doc->>'n')::bigint as n from {table}",
        "select (r.doc->>'n')::bigint as n from {table} r where _id like 'd%'",
        "select (doc->>'n')::bigint as n from {table} as raw\njoin (select 1 as one) o on true",
        "with a as (select * from {table} where not _deleted) select (a.doc->>'n')::int from a inner join {table} b using (_id);",
    ],
)
@pytest.mark.parametrize("table", ['"{db}"."v1"."couchdb"', "v1.couchdb", '"v1"."couchdb"'])
def test_the_documents_that_make_a_query_fail(conn, database, query, table):
    text = query.replace("{table}", table.replace("{db}", database.name))
    assert set(documents_at_fault(conn, text, RAW, database.name)) == BAD


@pytest.mark.parametrize(
    "query", ["select 1 / 0", "select * from v1.couchdb_progress", "select nothing from v1.couchdb", "no sql", ""]
)
def test_what_is_not_the_documents_fault(conn, database, query):
    assert documents_at_fault(conn, query, RAW, database.name) == []


def test_documents_older_than_the_model_are_not_looked_at(conn, database):
    newest = database.value("select max(saved_timestamp) + interval '1 s' from v1.couchdb")
    query = "select (doc->>'n')::bigint from v1.couchdb"
    assert documents_at_fault(conn, query, RAW, database.name, since=newest) == []


def test_what_was_found_before_is_asked_first(conn, database, monkeypatch):
    query = "select (doc->>'n')::bigint from v1.couchdb"
    monkeypatch.setattr("cht_sync.dbt.run.failing_documents.MOST_CANDIDATES", 0)
    assert documents_at_fault(conn, query, RAW, database.name, known=["d3"]) == ["d3"]
    assert documents_at_fault(conn, query, RAW, database.name, known=["d3", "d4"]) == []
