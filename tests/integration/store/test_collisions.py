"""The same _id in two sources."""

import hashlib
import json
import time

import psycopg2
import pytest

from cht_sync.store.collisions import read_collisions
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
NORTH, SOUTH, WEST = "north/medic", "south/medic", "west/medic"


class Sources:
    """Writes single documents of several sources, as their feeds bring them."""

    def __init__(self, store, database):
        self.store, self.database, self.seqs, self.revs = store, database, {}, {}

    def write(self, source, *documents):
        documents = [{**each, "_rev": self._rev(each)} for each in documents]
        since = self.seqs.get(source)
        self.seqs[source] = f"{int(since or 0) + 1}"
        return self.store.save(source, page_of(*documents, last_seq=self.seqs[source]), since)

    def _rev(self, document):
        """One for each content, the later the higher."""
        content = json.dumps({**document, "_rev": None})
        return self.revs.setdefault(content, f"{len(self.revs) + 1}-{document.get('v', 'x')}")

    def row(self):
        """Owner, tombstone flag and content of the one row."""
        ((source, deleted, doc),) = self.database.rows("select source, _deleted, doc from v1.couchdb")
        return source, deleted, content(deleted, doc)

    def beside(self):
        return {
            source: (deleted, content(deleted, doc))
            for source, deleted, doc in self.database.rows("select source, _deleted, doc from v1.couchdb_collision")
        }

    def stamp(self):
        return self.database.value("select saved_timestamp from v1.couchdb")


@pytest.fixture
def sources(store, database):
    return Sources(store, database)


def content(deleted, stored):
    """The value, which the revision tells too; of a tombstone there is nothing else."""
    value = stored["_rev"].partition("-")[2]
    assert stored.get("v") == (None if deleted else value)
    return value


def doc(value):
    return {"_id": "settings", "_rev": f"1-{value}", "v": value}


def tombstone(value):
    return {**doc(value), "_deleted": True}


def test_the_first_source_keeps_the_row(sources):
    sources.write(NORTH, doc("n1"))
    written = sources.write(SOUTH, doc("s1"))
    assert (written.rows, written.collisions, written.documents) == (0, 1, 1)
    assert (sources.row(), sources.beside()) == ((NORTH, False, "n1"), {SOUTH: (False, "s1")})


def test_nothing_flaps(sources):
    sources.write(NORTH, doc("n1"))
    stamp = sources.stamp()
    for number in range(3):
        sources.write(SOUTH, doc(f"s{number}"))
        assert sources.write(NORTH, doc("n1")).collisions == 0
    assert sources.stamp() == stamp
    assert (sources.row(), sources.beside()) == ((NORTH, False, "n1"), {SOUTH: (False, "s2")})
    sources.write(NORTH, doc("n2"))
    assert (sources.row(), sources.beside()) == ((NORTH, False, "n2"), {SOUTH: (False, "s2")})


def test_stamps_go_on_from_what_lies_beside(sources, database):
    """So that whoever remembers the newest stamp of both tables misses nothing, though the clock goes back."""
    sources.write(NORTH, doc("n1"))
    sources.write(SOUTH, doc("s1"))
    database.rows("update v1.couchdb_collision set saved_timestamp = saved_timestamp + interval '1 hour'")
    ahead = database.value("select saved_timestamp from v1.couchdb_collision")
    sources.write(NORTH, doc("n2"))
    assert sources.stamp() > ahead
    sources.write(SOUTH, doc("s2"))
    assert database.value("select saved_timestamp from v1.couchdb_collision") > sources.stamp()


def test_the_owners_delete_hands_the_row_on(sources):
    sources.write(NORTH, doc("n1"))
    sources.write(SOUTH, doc("s1"))
    stamp = sources.stamp()
    written = sources.write(NORTH, tombstone("n2"))
    assert written.rows == 2
    assert (sources.row(), sources.beside()) == ((SOUTH, False, "s1"), {NORTH: (True, "n2")})
    assert sources.stamp() > stamp
    # back to life, but no longer the owner
    sources.write(NORTH, doc("n3"))
    assert (sources.row(), sources.beside()) == ((SOUTH, False, "s1"), {NORTH: (False, "n3")})


def test_a_document_takes_the_row_of_a_tombstone(sources):
    sources.write(NORTH, tombstone("n1"))
    assert sources.write(SOUTH, doc("s1")).rows == 1
    assert (sources.row(), sources.beside()) == ((SOUTH, False, "s1"), {NORTH: (True, "n1")})


def test_a_tombstone_takes_no_row(sources):
    sources.write(NORTH, tombstone("n1"))
    sources.write(SOUTH, tombstone("s1"))
    assert (sources.row(), sources.beside()) == ((NORTH, True, "n1"), {SOUTH: (True, "s1")})
    sources.write(SOUTH, doc("s2"))
    assert (sources.row(), sources.beside()) == ((SOUTH, False, "s2"), {NORTH: (True, "n1")})


def test_the_one_that_waits_longest_inherits(sources):
    sources.write(NORTH, doc("n1"))
    sources.write(WEST, doc("w1"))
    sources.write(SOUTH, doc("s1"))
    sources.write(NORTH, tombstone("n2"))
    assert sources.row() == (WEST, False, "w1")
    sources.write(WEST, tombstone("w2"))
    assert sources.row() == (SOUTH, False, "s1")
    sources.write(SOUTH, tombstone("s2"))
    assert sources.row() == (SOUTH, True, "s2")
    assert sources.beside() == {NORTH: (True, "n2"), WEST: (True, "w2")}


def test_a_tombstone_of_the_one_that_waits_inherits_nothing(sources):
    sources.write(NORTH, doc("n1"))
    sources.write(SOUTH, doc("s1"))
    sources.write(SOUTH, tombstone("s2"))
    sources.write(NORTH, tombstone("n2"))
    assert (sources.row(), sources.beside()) == ((NORTH, True, "n2"), {SOUTH: (True, "s2")})


def test_a_source_that_is_given_up_hands_its_rows_on(sources, store, database):
    sources.write(NORTH, doc("n1"), {"_id": "only north"})
    sources.write(SOUTH, doc("s1"))
    store.restart(NORTH, None)
    from cht_sync.sync.sweep import sweep

    assert sum(written.rows for written in sweep(store, NORTH, lambda names: names, 60)) == 3
    assert database.rows("select _id, source, _deleted from v1.couchdb order by _id") == [
        ("only north", NORTH, True),
        ("settings", SOUTH, False),
    ]
    assert store.state(NORTH).sweep_after is None


def collisions(store, most=None):
    return store._session.ask("count", lambda cursor: read_collisions(cursor, store._names, most))


def test_collisions_are_counted_by_the_source_that_owns_the_rows(sources, store):
    assert collisions(store) == []
    sources.write(NORTH, *({"_id": f"d{n}"} for n in range(5)), {"_id": "gone", "_deleted": True})
    sources.write(WEST, {"_id": "w"})
    sources.write(SOUTH, *({"_id": f"d{n}"} for n in range(3)), {"_id": "gone", "_deleted": True}, {"_id": "w"})
    sources.write(WEST, {"_id": "d0", "_deleted": True})
    assert collisions(store) == [(SOUTH, NORTH, 3), (SOUTH, WEST, 1), (WEST, NORTH, 1)]
    assert sum(number for source, _, number in collisions(store, 2) if source == SOUTH) <= 2
    # Where the owner is copied, a tombstone beside its row is as it should be.
    store.order_sources([NORTH, SOUTH, WEST])
    assert collisions(store) == [(SOUTH, NORTH, 3), (WEST, SOUTH, 1)]


def longest_id(database):
    """The longest ``_id`` that the primary key of the documents takes; it does not compress."""
    letters = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(50))
    for length in range(2710, 2600, -1):
        try:
            database.rows("insert into v1.couchdb (_id) values (%s)", letters[:length])
        except psycopg2.errors.ProgramLimitExceeded:
            continue
        database.rows("delete from v1.couchdb")
        return letters[:length]
    raise AssertionError("no length fits")


def test_an_id_that_an_index_just_holds_collides_like_any_other(sources, database):
    name = longest_id(database)
    for source in (NORTH, SOUTH):
        written = sources.write(source, {**doc(source), "_id": name})
        assert written.quarantined == 0
    assert (sources.row(), sources.beside()) == ((NORTH, False, NORTH), {SOUTH: (False, SOUTH)})
    assert sources.write(NORTH, {**tombstone("gone"), "_id": name}).quarantined == 0
    assert (sources.row(), sources.beside()) == ((SOUTH, False, SOUTH), {NORTH: (True, "gone")})
    sources.write(SOUTH, {**tombstone("gone"), "_id": name})
    assert sources.write(WEST, {**doc("w"), "_id": name}).quarantined == 0
    assert sources.row() == (WEST, False, "w")


def test_the_rest_of_a_page_is_not_disturbed(sources, database):
    sources.write(NORTH, *({"_id": f"d{n}", "of": "north"} for n in range(0, 60, 2)))
    written = sources.write(SOUTH, *({"_id": f"d{n}", "of": "south"} for n in range(60)))
    assert (written.rows, written.collisions) == (30, 30)
    assert database.rows("select source, count(*) from v1.couchdb group by 1 order by 1") == [(NORTH, 30), (SOUTH, 30)]


@pytest.mark.parametrize("value", ["n1", "s1"])
def test_a_row_that_no_source_owns_goes_to_the_first_that_has_the_document(sources, database, value):
    sources.write(NORTH, doc("n1"))
    database.rows("update v1.couchdb set source = null")
    assert sources.write(SOUTH, doc(value)).rows == 1
    assert (sources.row(), sources.beside()) == ((SOUTH, False, value), {})


def test_a_collision_does_not_make_other_pages_read_the_whole_table(sources, database):
    sources.write(NORTH, doc("n1"), *({"_id": f"d{n}", "x": "y" * 200} for n in range(20_000)))
    sources.write(SOUTH, doc("s1"))
    database.rows("analyze v1.couchdb")
    before = read_by_scans(sources, database)
    sources.write(NORTH, *({"_id": f"d{n}", "x": "z"} for n in range(100)), {"_id": "d5000", "x": "y" * 200})
    assert read_by_scans(sources, database) == before


def read_by_scans(sources, database):
    """Rows that scans of the whole table have read; a session tells of them at a commit, once a second."""
    time.sleep(1.1)
    sources.write(WEST, {"_id": "west"})
    database.rows("select pg_stat_force_next_flush()")
    return database.value("select seq_tup_read from pg_stat_user_tables where relid = 'v1.couchdb'::regclass")
