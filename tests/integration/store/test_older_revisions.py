"""A row never goes back by itself: copies of a cluster that lag, restored backups, winners that were deleted."""

from __future__ import annotations

import json
from datetime import timedelta
from unittest.mock import Mock

import pytest

from cht_sync.couchdb.decode import decode_page
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.structs import Change, DatabaseInfo, Refused, Revision
from cht_sync.errors import RequestRefusedError
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.reconcile.postgres_side import StoredSide
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from cht_sync.sync import database_identity, older_documents
from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.machine.replicas import ReplicatedDatabase
from tests.integration.reconcile.proving import prove_all

pytestmark = pytest.mark.integration
SOURCE = "127.0.0.1/medic"


class Medic:
    """A database, and what is stored of it.

    :param couch: the database, of one copy or several.
    :param database: where it is copied to.
    """

    def __init__(self, couch, database):
        self.couch, self.database = couch, database

    def write(self, id, *, deleted=False, hash="a"):
        before = self.couch.docs.get(id)
        rev = f"{int(before.rev.split('-')[0]) + 1 if before else 1}-{hash}"
        self.couch.put(id, rev, body(id, rev, deleted), deleted=deleted)

    def sync(self, **params):
        return CouchDBToPostgresOperator(task_id="sync", database="medic").execute({"params": params})

    def read_again(self, **params):
        """As a person has a database copied again from the beginning."""
        self.database.rows("delete from v1.couchdb_progress")
        return self.sync(**params)

    def rows(self):
        return {
            name: (rev, deleted)
            for name, rev, deleted in self.database.rows("select _id, doc->>'_rev', _deleted from v1.couchdb")
        }

    def waiting(self):
        return self.database.rows(
            "select _id, held, claimed, looks from v1.couchdb_older_revision where settled_at is null order by _id"
        )


def body(id, rev, deleted=False):
    return json.dumps({"_id": id, "_rev": rev, **({"_deleted": True} if deleted else {})}).encode()


@pytest.fixture
def cluster(monkeypatch):
    server = Cluster()
    for name, value in {"HOST": "127.0.0.1", "PORT": str(server.port)}.items():
        monkeypatch.setenv(f"COUCHDB_{name}", value)
    monkeypatch.setattr(database_identity, "SECOND_LOOK_S", 0.0)
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.0)
    monkeypatch.setattr(older_documents, "PAUSE", timedelta())
    yield server
    server.close()


@pytest.fixture
def medic(cluster, database):
    cluster.databases["medic"] = ReplicatedDatabase("medic", 1)
    return Medic(cluster.databases["medic"], database)


@pytest.fixture
def medic_of_one_copy(cluster, database):
    cluster.databases["medic"] = ClusterDatabase("medic", 1)
    return Medic(cluster.databases["medic"], database)


def test_copies_at_rest_are_one_database_whatever_their_numbers_say(medic):
    medic.couch.fall_behind(2)
    medic.couch.alone = 0
    for _ in range(5):
        medic.write("a")
    medic.sync()
    medic.couch.catch_up()
    numbers = {json.loads(copy.info())["update_seq"].split("-")[0] for copy in medic.couch._copies}
    assert len(numbers) == 2
    for number in (0, 1, 2, 2, 1, 0):
        medic.couch.alone = number
        assert medic.sync()["rows"] == 0
    assert medic.database.rows("select made_again_at, doubt from v1.couchdb_progress") == [(None, None)]


def test_a_copy_that_lags_undoes_no_edit_and_no_delete(medic):
    for id in ("edited", "deleted", "kept"):
        medic.write(id)
    medic.couch.fall_behind(2)
    medic.write("edited")
    medic.write("deleted", deleted=True)
    medic.write("new")
    medic.couch.alone = 0
    medic.sync()
    expected = medic.rows()
    medic.couch.alone = 2
    assert medic.read_again()["older"] == 2
    for _ in range(10):
        medic.sync()
    assert medic.rows() == expected == {
        "edited": ("2-a", False), "deleted": ("2-a", True), "kept": ("1-a", False), "new": ("1-a", False)
    }  # fmt: skip
    assert [each[:3] for each in medic.waiting()] == [("deleted", "2-a", "1-a"), ("edited", "2-a", "1-a")]
    # A proof that nobody but this copy answers is no proof, and repairs nothing.
    summary = prove_all("medic", SOURCE)
    assert summary.bad
    assert "couchdb_older_revision" in " ".join(summary.reasons)
    assert medic.rows() == expected
    medic.couch.catch_up()
    medic.sync()
    assert (medic.rows(), medic.waiting()) == (expected, [])
    assert not prove_all("medic", SOURCE).bad


def test_an_older_winner_arrives_at_once_where_the_newer_one_was_deleted(medic):
    medic.write("a")
    medic.couch.branch("a", "1-0", body("a", "1-0"))
    medic.write("a", hash="b")
    medic.sync()
    assert medic.rows() == {"a": ("2-b", False)}
    medic.write("a", hash="c", deleted=True)
    summary = medic.sync()
    assert medic.rows() == {"a": ("1-0", False)}
    assert (summary["older"], medic.waiting()) == (1, [])
    # A copy that does not know of the delete is told from that, whenever it answers.
    assert medic.database.rows("select known from v1.couchdb_older_revision") == [(["3-c", "1-0"],)]
    medic.couch.put("a", "2-x", body("a", "2-x"))
    medic.sync()
    assert medic.rows() == {"a": ("2-x", False)}


def test_a_copy_without_the_delete_of_a_conflict_does_not_bring_it_back(medic):
    medic.write("a")
    medic.couch.branch("a", "1-0", body("a", "1-0"))
    medic.write("a", hash="b")
    medic.sync()
    medic.couch.fall_behind(2)
    medic.write("a", hash="c", deleted=True)
    medic.couch.alone = 0
    medic.sync()
    assert medic.rows() == {"a": ("1-0", False)}
    medic.couch.alone = 2
    for _ in range(8):
        medic.read_again()
    assert medic.rows() == {"a": ("1-0", False)}
    medic.couch.catch_up()
    medic.sync()
    assert (medic.rows(), medic.waiting()) == ({"a": ("1-0", False)}, [])


def restored(medic):
    medic.write("a")
    medic.write("b")
    medic.couch.snapshot()
    medic.write("a")
    medic.write("b", deleted=True)
    medic.write("lost")
    medic.sync()
    medic.couch.restore()


def test_a_restored_backup_of_a_cluster_arrives_in_the_end(medic, monkeypatch):
    restored(medic)
    medic.read_again()
    prove_all("medic", SOURCE)
    before = {"a": ("2-a", False), "b": ("2-a", True), "lost": ("1-a", False)}
    for _ in range(10):
        medic.sync()
    assert medic.rows() == before
    monkeypatch.setenv("CHT_OLDER_AFTER", "0")
    medic.sync()
    assert medic.rows() == {"a": ("1-a", False), "b": ("1-a", False), "lost": ("1-a", True)}
    assert medic.waiting() == []
    # What is written on top of it is as good as any.
    medic.write("a", hash="0")
    medic.sync()
    assert medic.rows()["a"] == ("2-0", False)


def test_it_takes_several_looks_whatever_the_time(medic, monkeypatch):
    restored(medic)
    monkeypatch.setenv("CHT_OLDER_AFTER", "0")
    for look in range(1, older_documents.LOOKS):
        medic.sync() if look > 1 else medic.read_again()
        assert {each[3] for each in medic.waiting()} == {look}
    assert medic.rows()["a"] == ("2-a", False)
    medic.sync()
    assert medic.rows()["a"] == ("1-a", False)


def test_a_restored_backup_of_a_cluster_arrives_at_once_where_a_person_says_so(medic):
    restored(medic)
    medic.read_again()
    medic.sync(accept_older=[SOURCE])
    assert medic.rows() == {"a": ("1-a", False), "b": ("1-a", False), "lost": ("1-a", False)}


def test_a_restored_backup_of_one_copy_is_doubted_proven_and_arrives(medic_of_one_copy, cluster):
    medic = medic_of_one_copy
    medic.write("a")
    backup = medic.couch.snapshot()
    medic.write("a")
    medic.write("lost")
    medic.sync()
    cluster.databases["medic"] = medic.couch = backup
    medic.write("new")
    medic.sync()
    assert "restored backup" in medic.database.value("select doubt from v1.couchdb_progress")
    summary = prove_all("medic", SOURCE)
    assert (summary.bad, summary.repaired) == (False, 3)
    assert medic.rows() == {"a": ("1-a", False), "lost": ("1-a", True), "new": ("1-a", False)}
    # The feed is read from where the restored database stands.
    medic.write("newer")
    assert medic.sync()["rows"] == 1


def test_a_document_that_a_copy_does_not_know_is_no_tombstone(medic, monkeypatch):
    medic.write("a")
    medic.write("b")
    medic.sync()
    medic.couch.forget("b", on=[2])
    medic.couch.alone = 2
    assert prove_all("medic", SOURCE).bad
    assert medic.waiting() == [("b", "1-a", None, 0)]
    medic.sync()
    assert medic.rows()["b"] == ("1-a", False)
    medic.couch.alone = 0
    medic.sync()
    assert (medic.rows()["b"], medic.waiting()) == (("1-a", False), [])


def test_a_purged_document_of_a_cluster_becomes_a_tombstone_in_the_end(medic, monkeypatch):
    medic.write("a")
    medic.write("b")
    medic.sync()
    medic.couch.forget("b")
    prove_all("medic", SOURCE)
    monkeypatch.setenv("CHT_OLDER_AFTER", "0")
    for _ in range(older_documents.LOOKS):
        medic.sync()
    assert medic.rows() == {"a": ("1-a", False), "b": ("1-a", True)}


def test_a_database_made_again_starts_with_any_revision(medic, monkeypatch):
    for _ in range(3):
        medic.write("both")
    medic.write("old")
    medic.sync()
    medic.couch.make_again("1700000001")
    medic.write("both")
    medic.sync()
    assert medic.rows() == {"both": ("1-a", False), "old": ("1-a", False)}
    assert medic.waiting() == [("old", "1-a", None, 1)]
    monkeypatch.setenv("CHT_OLDER_AFTER", "0")
    for _ in range(older_documents.LOOKS):
        medic.sync()
    assert medic.rows() == {"both": ("1-a", False), "old": ("1-a", True)}
    medic.write("old", hash="0")  # an id of before comes again with a low revision
    medic.sync()
    assert medic.rows()["old"] == ("1-0", False)


def test_a_document_deleted_in_a_database_made_again_stays_deleted(medic, monkeypatch):
    medic.write("old")
    medic.sync()
    medic.couch.make_again("1700000001")
    medic.write("kept")
    medic.write("a")
    medic.couch.fall_behind(2)
    medic.write("a", deleted=True)
    medic.couch.alone = 0
    medic.sync()
    assert medic.rows()["a"] == ("2-a", True)
    medic.couch.alone = 2
    medic.read_again()
    assert medic.rows()["a"] == ("2-a", True)


def test_an_older_revision_does_not_take_a_newer_one_out_of_quarantine(store, database):
    state = store.state(SOURCE)
    newer = Refused(decode_page(b'{"results":[{"id":"a","changes":[{"rev":"3-a"}]}],"last_seq":"1"}').results[0], "why")
    store.save_documents(SOURCE, [], [newer], state)
    older = decode_page(
        b'{"results":[{"id":"a","changes":[{"rev":"2-a"}],"doc":{"_id":"a","_rev":"2-a"}}],"last_seq":"1"}'
    ).results
    written = store.save_documents(SOURCE, older, [], state)
    assert (written.rows, written.resolved, written.older) == (0, 0, 1)
    assert database.rows("select _rev from v1.couchdb_quarantine where resolved_at is null") == [("3-a",)]
    # Nor one that cannot be read take the place of it.
    written = store.save_documents(SOURCE, [], [Refused(older[0], "older")], state)
    assert (written.quarantined, written.older) == (0, 1)
    assert database.rows("select _rev from v1.couchdb_quarantine where resolved_at is null") == [("3-a",)]


def test_an_older_revision_beside_another_sources_row_is_held_back_too(store, database):
    def documents(*revisions):
        rows = [{"id": "a", "changes": [{"rev": rev}], "doc": {"_id": "a", "_rev": rev}} for rev in revisions]
        return decode_page(json.dumps({"results": rows, "last_seq": "1"}).encode()).results

    store.save_documents("other/medic", documents("5-x"), [], store.state("other/medic"))
    store.save_documents(SOURCE, documents("3-a"), [], store.state(SOURCE))
    assert store.save_documents(SOURCE, documents("2-a"), [], store.state(SOURCE)).older == 1
    assert database.rows("select doc->>'_rev' from v1.couchdb_collision") == [("3-a",)]


@pytest.mark.parametrize(
    ("n", "seq", "one"), [(1, '"5-g1"', True), (3, '"5-g1"', False), (None, "5", True), (None, '"5-g"', False)]
)
def test_who_keeps_one_copy(n, seq, one):
    import msgspec

    cluster = f',"cluster":{{"q":2,"n":{n}}}' if n else ""
    text = f'{{"db_name":"medic","update_seq":{seq}{cluster}}}'.encode()
    assert msgspec.json.decode(text, type=DatabaseInfo).has_one_copy is one


def test_a_first_load_of_a_cluster_is_proven_once_more(medic, monkeypatch):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "1")
    for id in "abc":
        medic.write(id)
    medic.couch.fall_behind(2)
    medic.write("a", deleted=True)
    medic.write("d")
    medic.couch.alone = 2
    medic.sync()
    assert {id: deleted for id, (_, deleted) in medic.rows().items()} == {"a": False, "b": False, "c": False}
    assert "was loaded from a CouchDB cluster" in medic.database.value("select doubt from v1.couchdb_progress")
    medic.couch.catch_up()
    summary = prove_all("medic", SOURCE)
    assert (summary.bad, summary.repaired) == (False, 0)
    medic.sync()
    assert {id: deleted for id, (_, deleted) in medic.rows().items()} == {"a": True, "b": False, "c": False, "d": False}


def change(id, rev, **fields):
    """A row of the feed with its document."""
    row = {"id": id, "changes": [{"rev": rev}], "doc": {"_id": id, "_rev": rev, **fields}}
    return decode_page(json.dumps({"results": [row], "last_seq": "1"}).encode()).results[0]


def lagging(medic, *ids):
    """Has a copy that lags be asked for all documents once more."""
    for _ in range(2):
        for id in ids:
            medic.write(id)
        medic.couch.fall_behind(2)
    medic.couch.alone = 0
    medic.sync()
    medic.couch.alone = 2
    medic.read_again()
    assert len(medic.waiting()) == len(ids)


def test_a_revision_that_postgres_cannot_hold_stops_nothing(store, database):
    state = store.state(SOURCE)
    store.save_documents(SOURCE, [change("a", "2-b")], [], state)
    assert store.save_documents(SOURCE, [change("a", "1-b")], [], state).older == 1
    for _ in range(2):
        store.save_documents(SOURCE, [change("odd", "1-\0")], [], state)
    assert store.save_documents(SOURCE, [], [Refused(change("odd too", "1-\0"), "why")], state).quarantined == 1
    with StoredSide(postgres_connection(), RawTable("v1", "couchdb"), SOURCE) as stored:
        assert stored.differences([change("odd", "1-\0")]) == []


def test_a_body_older_than_its_row_of_the_feed_is_not_lost(store, database):
    state = store.state(SOURCE)
    store.save_documents(SOURCE, [change("a", "2-b")], [], state)
    assert store.save_documents(SOURCE, [change("a", "3-c", _rev="1-x")], [], state).older == 1
    assert database.rows("select claimed from v1.couchdb_older_revision") == [("1-x",)]


def test_a_newer_revision_that_goes_to_quarantine_ends_the_waiting(medic):
    lagging(medic, "a")
    medic.couch.catch_up()
    medic.couch.put("a", "3-a", b'{"_id":"a","_rev":"3-a","x":1e200000}')
    for _ in range(3):
        medic.sync()
    assert medic.waiting() == []
    assert medic.database.rows("select _rev, attempts from v1.couchdb_quarantine") == [("3-a", 1)]


def test_those_that_have_waited_longest_are_looked_at_first(store, database):
    database.rows(
        "insert into v1.couchdb_older_revision (source, key, _id, held, claimed)"
        " select %s, sha256(i::text::bytea), i, '2-a', '1-a' from generate_series(1, 100) i",
        SOURCE,
    )
    seen = set()
    for _ in range(2):  # runs that manage one batch each, a minute apart
        seen |= {each.id for each in store.older_revisions(SOURCE, 50, timedelta(seconds=30))}
        database.rows("update v1.couchdb_older_revision set looked_at = looked_at - interval '1 minute'")
    assert len(seen) == 100


@pytest.mark.parametrize("refused", [("leaves",), ("leaves", "states")])
def test_a_server_that_refuses_to_be_asked_stops_nothing(medic, monkeypatch, refused):
    lagging(medic, "a", "b")
    for name in refused:
        monkeypatch.setattr(CouchDBHook, name, Mock(side_effect=RequestRefusedError("no", 403)))
    medic.write("new")
    medic.sync()
    assert medic.rows()["a"] == ("2-a", False)
    assert len(medic.waiting()) == 2


def test_a_document_whose_tree_is_not_told_can_be_accepted(medic, monkeypatch):
    lagging(medic, "a")
    monkeypatch.setattr(CouchDBHook, "leaves", lambda *arguments: {})
    medic.sync(accept_older=[SOURCE])
    assert (medic.rows()["a"], medic.waiting()) == (("1-a", False), [])


def test_bodies_that_are_large_together_come_one_by_one(medic, monkeypatch):
    monkeypatch.setenv("CHT_SYNC_MAX_MB", "1")
    ids = [f"d{n}" for n in range(8)]
    for id in ids:
        medic.couch.put(id, "1-a", json.dumps({"_id": id, "_rev": "1-a", "x": "y" * 300_000}).encode())
    medic.couch.snapshot()
    for id in ids:
        medic.write(id)
    medic.sync()
    medic.couch.restore()
    medic.read_again()
    sizes, put = [], DocumentStore.save_documents

    def measured(self, source, changes, *arguments, **options):
        sizes.append(sum(len(each.doc) for each in changes))
        return put(self, source, changes, *arguments, **options)

    monkeypatch.setattr(DocumentStore, "save_documents", measured)
    medic.sync(accept_older=[SOURCE])
    assert set(medic.rows().values()) == {("1-a", False)}
    assert max(sizes) < 400_000


def test_beside_another_sources_row_nothing_goes_back_while_a_database_made_again_is_read(store, database):
    store.save_documents("other/medic", [change("a", "5-x")], [], store.state("other/medic"))
    store.save_documents(SOURCE, [change("a", "4-a")], [], store.state(SOURCE))
    store.restart(SOURCE, "1")
    for rev in ("3-a", "2-a"):
        store.save_documents(SOURCE, [change("a", rev)], [], store.state(SOURCE))
    assert database.rows("select doc->>'_rev' from v1.couchdb_collision") == [("3-a",)]


def test_an_id_that_postgres_cannot_hold_has_no_row_to_go_back(store, database):
    store.note_missing(SOURCE, [Change("a\0b", [Revision("1-a")], deleted=True)], store.state(SOURCE))
    assert database.rows("select * from v1.couchdb_older_revision") == []
