import threading
from datetime import timedelta

import msgspec
import psycopg2
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from cht_sync.couchdb.decode import decode_page
from cht_sync.couchdb.structs import Change, Page
from cht_sync.errors import CheckpointConflictError, StoreError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store import rows
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
RAW = RawTable("v1", "couchdb")
SOURCE = "couch.example.org/medic"


def claimed(store, source=SOURCE):
    store.claim(source)
    return store


def test_a_page_and_its_checkpoint(store, database):
    claimed(store)
    assert store.checkpoint(SOURCE) is None
    page = page_of(
        {"_id": "a", "_rev": "1-x", "n": 1.0},
        {"_id": "b", "_rev": "2-x", "_deleted": True},
        last_seq="9-abc",
        pending=4,
    )
    saved = store.save(SOURCE, page, None)
    assert (saved.documents, saved.tombstones, saved.rows) == (2, 1, 2)
    assert database.rows("select _id, _deleted, source, doc, saved_timestamp from v1.couchdb order by _id") == [
        ("a", False, SOURCE, {"_id": "a", "_rev": "1-x", "n": 1.0}, saved.stamp),
        ("b", True, SOURCE, {"_id": "b", "_rev": "2-x", "_deleted": True}, saved.stamp),
    ]
    assert database.rows(
        "select source, seq, pending, updated_at > now() - '1 min'::interval from v1.couchdb_progress"
    ) == [(SOURCE, "9-abc", 4, True)]
    assert store.checkpoint(SOURCE) == "9-abc"


def test_a_page_that_comes_again_changes_nothing(store, database):
    claimed(store)
    page = page_of({"_id": "a", "v": 1}, last_seq="1-a")
    first = store.save(SOURCE, page, None)
    again = store.save(SOURCE, page_of({"_id": "a", "v": 1}, last_seq="2-a"), "1-a")
    assert (again.documents, again.rows, again.stamp) == (1, 0, None)
    assert database.value("select saved_timestamp from v1.couchdb") == first.stamp
    edited = store.save(SOURCE, page_of({"_id": "a", "v": 2}, last_seq="3-a"), "2-a")
    assert edited.stamp > first.stamp
    assert database.rows("select doc, saved_timestamp from v1.couchdb") == [({"_id": "a", "v": 2}, edited.stamp)]


def test_a_document_that_comes_twice_in_a_page_has_its_last_state(store, database):
    claimed(store)
    store.save(SOURCE, page_of({"_id": "a", "v": 1}, {"_id": "b"}, {"_id": "a", "_deleted": True}), None)
    assert database.rows("select _id, _deleted from v1.couchdb order by 1") == [("a", True), ("b", False)]


def test_a_tombstone_without_a_body_gets_the_one_couchdb_would_give(store, database):
    claimed(store)
    body = b'{"results":[{"id":"a","changes":[{"rev":"3-y"}],"deleted":true}],"last_seq":"1","pending":0}'
    store.save(SOURCE, decode_page(body), None)
    assert database.rows("select _deleted, doc from v1.couchdb") == [
        (True, {"_id": "a", "_rev": "3-y", "_deleted": True})
    ]


def test_the_checkpoint_moves_only_from_where_the_page_was_read(store, database):
    claimed(store)
    store.save(SOURCE, page_of({"_id": "a"}, last_seq="5-a"), None)
    for stale in (None, "4-z"):
        with pytest.raises(CheckpointConflictError, match="moved by another writer"):
            store.save(SOURCE, page_of({"_id": "a", "stale": True}, {"_id": "b"}, last_seq="6-a"), stale)
    assert database.rows("select doc from v1.couchdb") == [({"_id": "a"},)]
    assert store.checkpoint(SOURCE) == "5-a"


def test_a_checkpoint_that_was_taken_away_is_not_made_again(store, database):
    claimed(store)
    store.save(SOURCE, page_of({"_id": "a"}, last_seq="5-a"), None)
    database.rows("delete from v1.couchdb_progress")
    with pytest.raises(CheckpointConflictError):
        store.save(SOURCE, page_of({"_id": "b"}, last_seq="6-a"), "5-a")
    assert database.value("select count(*) from v1.couchdb") == 1


def test_one_writer_for_a_source_and_the_other_is_told_who(store, database):
    claimed(store)
    with DocumentStore(postgres_connection(), RAW, "cht_sync second") as second:
        with pytest.raises(
            CheckpointConflictError, match=r"is being written by cht_sync \(Postgres backend \d+, connected since 2"
        ):
            second.claim(SOURCE)
        second.claim("couch.example.org/medic-sentinel")
    store.close()
    with DocumentStore(postgres_connection(), RAW) as third:
        third.claim(SOURCE)


def test_stamps_grow_although_the_clock_goes_back(store, database):
    claimed(store)
    store.save(SOURCE, page_of({"_id": "a"}, last_seq="1-a"), None)
    database.rows("update v1.couchdb set saved_timestamp = saved_timestamp + interval '1 hour'")
    ahead = database.value("select saved_timestamp from v1.couchdb")
    saved = store.save(SOURCE, page_of({"_id": "b"}, last_seq="2-a"), "1-a")
    assert saved.stamp == ahead + timedelta(microseconds=1)


def test_no_stamp_becomes_visible_after_a_later_one(database):
    """Sources write at once; a reader that remembers the newest stamp it saw must never find an older one new."""
    with DocumentStore(postgres_connection(), RAW) as store:
        store.prepare()
    errors, done = [], threading.Event()

    def write(source):
        with DocumentStore(postgres_connection(), RAW) as own:
            own.claim(source)
            since = None
            for number in range(60):
                documents = [{"_id": f"{source}-{number}-{each}", "x": "y" * 500} for each in range(30)]
                own.save(source, page_of(*documents, last_seq=f"{number}-a"), since)
                since = f"{number}-a"

    def read():
        seen, newest = set(), None
        with psycopg2.connect(database.dsn) as conn, conn.cursor() as cursor:
            conn.autocommit = True
            while not done.is_set():
                cursor.execute("select distinct saved_timestamp from v1.couchdb")
                stamps = {stamp for (stamp,) in cursor}
                late = [stamp for stamp in stamps - seen if newest and stamp <= newest]
                errors.extend(late)
                seen |= stamps
                newest = max(stamps, default=None)

    reader = threading.Thread(target=read)
    writers = [threading.Thread(target=write, args=(f"h/{number}",)) for number in range(3)]
    reader.start()
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert errors == []
    assert database.rows("select count(*), count(distinct saved_timestamp) from v1.couchdb") == [(5400, 180)]


def test_password_material_is_not_stored(store, database):
    claimed(store)
    user = {"_id": "org.couchdb.user:ann", "type": "user", "name": "ann", "derived_key": "k", "salt": "s"}
    store.save(SOURCE, page_of({**user, "password_scheme": "pbkdf2", "iterations": 10, "pbkdf2_prf": "sha256"}), None)
    assert database.value("select doc from v1.couchdb") == {
        "_id": "org.couchdb.user:ann",
        "type": "user",
        "name": "ann",
    }


def test_an_empty_page_says_that_the_source_was_looked_at(store, database):
    claimed(store)
    store.save(SOURCE, page_of({"_id": "a"}, last_seq="1-a"), None)
    database.rows("update v1.couchdb_progress set updated_at = now() - interval '1 day'")
    saved = store.save(SOURCE, page_of(last_seq="1-b"), "1-a")
    assert (saved.documents, saved.rows) == (0, 0)
    assert database.rows("select seq, pending, now() - updated_at < interval '1 min' from v1.couchdb_progress") == [
        ("1-b", 0, True)
    ]


def test_more_pending_than_an_integer_holds(store, database):
    claimed(store)
    store.save(SOURCE, page_of({"_id": "a"}, last_seq="1-a", pending=3_000_000_000), None)
    assert database.value("select pending from v1.couchdb_progress") == 2_147_483_647


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(st.characters(codec="utf-8"), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), inner, max_size=3)
    ),
    max_leaves=10,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    # A leading underscore is CouchDB's own: it would make the page around the document another one.
    fields=st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1).filter(lambda key: key[0] != "_"),
        json_values,
    ),
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=50),
)
def test_what_is_stored_is_what_came(store, database, fields, key):
    def stripped(value):
        if isinstance(value, str):
            return value.replace("\0", "")
        if isinstance(value, list):
            return [stripped(each) for each in value]
        if isinstance(value, dict):
            named = {stripped(name): stripped(each) for name, each in value.items()}
            assume(len(named) == len(value))  # keys that become equal are another matter
            return named
        return value

    document = {**fields, "_id": key}
    expected = stripped(document)
    claimed(store)
    store.save(SOURCE, page_of(document, last_seq="1"), store.checkpoint(SOURCE))
    stored = database.value("select doc from v1.couchdb where _id = %s", key)
    assert stored == expected


def test_documents_fetched_before_another_writer_came_are_not_stored(store, database):
    """A session that was cut off may try again after another run has moved on: it must not bring back the past."""
    claimed(store)
    store.save(SOURCE, page_of({"_id": "a", "v": 1}, last_seq="1-a"), None)
    before = store.state(SOURCE)
    store.save(SOURCE, page_of({"_id": "a", "v": 3}, last_seq="3-a"), "1-a")
    stale = Change(id="a", doc=msgspec.Raw(b'{"_id":"a","v":2}'))
    with pytest.raises(CheckpointConflictError, match="moved by another writer"):
        store.save_documents(SOURCE, [stale], [], before)
    with pytest.raises(CheckpointConflictError, match="moved by another writer"):
        store.save_tombstones(SOURCE, [Change(id="a", deleted=True)], before, None)
    assert database.rows("select doc->>'v', _deleted from v1.couchdb") == [("3", False)]


def test_a_copy_that_ends_early_is_rolled_back(store, database, monkeypatch):
    claimed(store)
    body = b'{"_id":"a"}'
    whole = rows.CopyStream.read
    calls = iter(range(100))
    # psycopg2 takes an empty piece for the end, and Postgres is content with a stream that ends behind a row.
    monkeypatch.setattr(rows.CopyStream, "read", lambda self, size=-1: b"" if next(calls) else whole(self))
    monkeypatch.setattr(rows, "PIECE", len(body))
    changes = [Change(id=name, doc=msgspec.Raw(body.replace(b"a", name.encode()))) for name in "ab"]
    with pytest.raises(StoreError, match="took 1 of 2 documents"):
        store.save(SOURCE, Page(changes, msgspec.Raw(b'"1-a"')), None)
    assert database.value("select count(*) from v1.couchdb") == 0
    assert store.checkpoint(SOURCE) is None
