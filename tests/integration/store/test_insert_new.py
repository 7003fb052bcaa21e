"""Documents that are expected to be new are inserted as they are; where they are not, all is as with any page."""

from __future__ import annotations

from dataclasses import replace

import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cht_sync.postgres.query import Names
from cht_sync.store.page_writer import MOST_KNOWN, PAGE_TABLE, PageWriter
from tests.integration.conftest import page_of
from tests.servers import mine

pytestmark = pytest.mark.integration

# Two keys that become one without U+0000: such a document goes to quarantine.
REFUSED = {"a\u0000": 1, "a": 2}
BODIES = st.sampled_from([{"n": 1}, {"n": 2}, {"text": "x" * 3000}, REFUSED, {"_deleted": True}])
PAGES = st.tuples(st.sampled_from(["one", "other"]), st.dictionaries(st.sampled_from("abcdefgh"), BODIES, max_size=5))


class Table:
    """Writes pages, and notes where their documents were copied to."""

    def __init__(self, dsn):
        self.conn = psycopg2.connect(dsn)
        self.begin()

    def begin(self, *, expect_new=True):
        """A run of its own, upon empty tables."""
        self.writer, self.expect_new, self.copied_to = PageWriter(Names("v1", "couchdb"), "order"), expect_new, []
        self.rows("truncate v1.couchdb, v1.couchdb_collision, v1.couchdb_quarantine cascade")

    def write(self, source, *documents):
        page = page_of(*documents)
        with self.conn, self.conn.cursor() as cursor:
            cursor.execute(PAGE_TABLE)
            spied = Spied(cursor, self.copied_to)
            return self.writer.write(spied, source, page.results, page.refused, None, expect_new=self.expect_new)

    def rows(self, query):
        with self.conn, self.conn.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def content(self):
        return (
            self.rows("select _id, _deleted, source, doc from v1.couchdb order by 1"),
            self.rows("select _id, _deleted, source, doc from v1.couchdb_collision order by 1, 3"),
            self.rows("select _id, source, reason, resolved_at is null from v1.couchdb_quarantine order by 1, 2"),
        )


class Spied:
    """A cursor that notes what COPY fills."""

    def __init__(self, cursor, copied_to):
        self._cursor, self._copied_to = cursor, copied_to

    def copy_expert(self, statement, *others):
        text = statement if isinstance(statement, str) else statement.as_string(self._cursor)
        self._copied_to.append("page" if "cht_sync_page" in text else "table")
        self._cursor.copy_expert(statement, *others)

    def __getattr__(self, name):
        return getattr(self._cursor, name)

    def __iter__(self):
        return iter(self._cursor)


@pytest.fixture
def table(store, database):
    table = Table(database.dsn)
    yield table
    table.conn.close()


def test_new_documents_go_straight_to_the_table(table):
    done = table.write("one", {"_id": "a", "n": 1}, {"_id": "b", "_deleted": True})
    again = table.write("one", {"_id": "c"})
    assert table.copied_to == ["table", "table"]
    assert (done.documents, done.tombstones, done.rows) == (2, 1, 2)
    assert again.stamp > done.stamp == done.first_stamp
    stamps = table.rows("select distinct saved_timestamp from v1.couchdb order by 1")
    assert stamps == [(done.stamp,), (again.stamp,)]


def test_where_one_is_there_already_its_page_is_written_as_ever_and_soon_all_are(table):
    table.write("one", {"_id": "a", "n": 1})
    for number in range(MOST_KNOWN + 1):
        done = table.write("one", {"_id": "a", "n": 2}, {"_id": f"new {number}"})
        assert done.rows == (2 if number == 0 else 1)
    # Each time to the table in vain, until that is not tried any more.
    assert table.copied_to == ["table", *["table", "page"] * MOST_KNOWN, "page"]
    assert table.rows("select count(*) from v1.couchdb") == [(MOST_KNOWN + 2,)]


def test_one_that_postgres_refuses_does_not_slow_down_the_pages_behind_it(table):
    assert table.write("one", {"_id": "a", **REFUSED}, {"_id": "b"}, {"_id": "c"}).quarantined == 1
    del table.copied_to[:]
    for number in range(MOST_KNOWN + 1):
        table.write("one", {"_id": f"new {number}"})
    assert table.copied_to == ["table"] * (MOST_KNOWN + 1)
    assert table.write("one", {"_id": "a", "n": 3}).resolved == 1
    assert table.copied_to[-1] == "page"


def test_where_row_level_security_takes_no_copy_all_is_written_as_ever(table, database, postgres_server):
    role = mine("guarded_writer")
    table.rows(f"create role {role}")
    table.rows(f"grant usage on schema v1 to {role}")
    table.rows(f"grant all on all tables in schema v1 to {role}")
    table.rows("alter table v1.couchdb enable row level security")
    table.rows(f"create policy everything on v1.couchdb for all to {role} using (true) with check (true)")
    try:
        table.rows(f"set role {role}")
        assert table.write("one", {"_id": "a"}).rows == 1
        assert table.copied_to == ["table", "page"]
    finally:
        table.rows("reset role")
        table.rows(f"drop owned by {role}")
        table.rows(f"drop role {role}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(PAGES, min_size=1, max_size=6))
def test_the_outcome_is_that_of_any_other_page(table, pages):
    found = []
    for expect_new in (True, False):
        table.begin(expect_new=expect_new)
        done = [
            table.write(source, *({"_id": name, **body} for name, body in documents.items()))
            for source, documents in pages
        ]
        found.append((table.content(), [replace(each, first_stamp=None, stamp=None) for each in done]))
    assert found[0] == found[1]
