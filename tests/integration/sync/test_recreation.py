"""Databases that were dropped and made again, emptied, or are gone."""

import itertools
import json

import pytest

from cht_sync.couchdb.structs import Change, Refused, Revision
from cht_sync.errors import CouchDBError, SettingsError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from cht_sync.sync import database_identity
from cht_sync.tasks.sync import list_sources
from tests.integration.operators.test_operator import copy, couch  # noqa: F401
from tests.unit.couchdb.test_structs import recorded
from tests.unit.scripted_server import Answer, ScriptedServer

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch):
    monkeypatch.setattr(database_identity, "SECOND_LOOK_S", 0.01)


def make_again(couch):  # noqa: F811
    assert couch.session.delete(couch.url).ok
    assert couch.session.put(couch.url).ok


def states(database):
    return dict(database.rows("select _id, _deleted from v1.couchdb order by _id"))


def confirmed(couch):  # noqa: F811
    return {"params": {"confirm_gone": [couch.source]}}


def test_a_database_made_again_is_read_from_its_beginning(couch, database):  # noqa: F811
    couch.write(*({"_id": f"old{n}"} for n in range(40)), {"_id": "both", "v": 1})
    copy(couch)
    make_again(couch)
    couch.write({"_id": "both", "v": 2}, {"_id": "new"})
    summary = copy(couch)
    assert states(database) == {**{f"old{n}": True for n in range(40)}, "both": False, "new": False}
    assert database.value("select doc from v1.couchdb where _id = 'old7'")["_deleted"] is True
    assert database.value("select doc->>'v' from v1.couchdb where _id = 'both'") == "2"
    assert (summary["documents"], summary["rows"]) == (42, 42)
    stamps = database.value("select max(saved_timestamp) from v1.couchdb")
    assert copy(couch)["rows"] == 0
    assert database.value("select max(saved_timestamp) from v1.couchdb") == stamps


def test_a_sweep_that_was_cut_off_goes_on(couch, database, monkeypatch):  # noqa: F811
    couch.write(*({"_id": f"old{n}"} for n in range(50)))
    copy(couch)
    make_again(couch)
    couch.write({"_id": "new"})
    monkeypatch.setattr("cht_sync.sync.sweep.AT_A_TIME", 10)
    bury, calls = DocumentStore.save_tombstones, itertools.count(1)

    def cut(self, *arguments, **options):
        if next(calls) == 3:
            raise KeyboardInterrupt
        return bury(self, *arguments, **options)

    monkeypatch.setattr(DocumentStore, "save_tombstones", cut)
    with pytest.raises(KeyboardInterrupt):
        copy(couch)
    assert sum(states(database).values()) == 19  # "new" is the first of the twenty
    copy(couch)
    assert states(database) == {**{f"old{n}": True for n in range(50)}, "new": False}
    assert database.value("select sweep_after from v1.couchdb_progress") is None


def test_what_was_in_quarantine_goes_with_its_database(couch, database):  # noqa: F811
    couch.write({"_id": "old"}, {"_id": "old too"})
    copy(couch)
    with own_store() as store:
        store.save_documents(
            couch.source,
            [],
            [Refused(Change(name), "why", body=b"bytes") for name in ("odd", "gone")],
            store.state(couch.source),
        )
    make_again(couch)
    couch.write({"_id": "odd"})
    copy(couch)
    assert database.value("select count(*) from v1.couchdb_quarantine where resolved_at is null") == 0
    assert states(database) == {"old": True, "old too": True, "odd": False, "gone": True}


def own_store():
    return DocumentStore(postgres_connection(), RawTable("v1", "couchdb"))


def test_an_empty_database_stops_unless_it_is_confirmed(couch, database):  # noqa: F811
    couch.write(*({"_id": f"d{n}"} for n in range(5)))
    copy(couch)
    before = database.rows("select * from v1.couchdb_progress")
    make_again(couch)
    with pytest.raises(SettingsError, match=f'is empty, and Postgres holds.*confirm_gone=."{couch.source}"'):
        copy(couch)
    assert set(states(database).values()) == {False}
    assert database.rows("select * from v1.couchdb_progress") == before
    copy(couch, confirmed(couch))
    assert set(states(database).values()) == {True}
    couch.write({"_id": "d1"})
    copy(couch)
    assert states(database)["d1"] is False


def test_a_database_that_is_gone_stops_unless_it_is_confirmed(couch, database):  # noqa: F811
    couch.write(*({"_id": f"d{n}"} for n in range(5)))
    copy(couch)
    assert couch.session.delete(couch.url).ok
    with pytest.raises(SettingsError, match=r"404.*COUCHDB_DBS.*confirm_gone"):
        copy(couch)
    assert set(states(database).values()) == {False}
    summary = copy(couch, confirmed(couch))
    assert summary["rows"] == 5
    assert set(states(database).values()) == {True}


def test_an_empty_database_that_always_was(couch, database):  # noqa: F811
    assert copy(couch)["drained"]
    assert copy(couch)["drained"]


def test_documents_that_were_all_deleted_one_by_one_are_no_sign(couch, database):  # noqa: F811
    written = couch.write({"_id": "a"}, {"_id": "b"})
    copy(couch)
    couch.write(*({"_id": name, "_rev": rev, "_deleted": True} for name, rev in written))
    copy(couch)
    assert states(database) == {"a": True, "b": True}


@pytest.fixture
def recorded_couchdb(database, monkeypatch):
    server = ScriptedServer()
    for name, value in {"HOST": "127.0.0.1", "PORT": str(server.port), "DBS": "record"}.items():
        monkeypatch.setenv(f"COUCHDB_{name}", value)
    yield server
    server.close()


def first_run():
    return [Answer(body=recorded(name)) for name in ("database", "server", "changes_include_docs")]


class Recorded:
    """The database ``record`` of the recorded answers."""

    name = "record"
    source = "127.0.0.1/record"


def test_couchdb_tells_by_the_time_it_was_made(recorded_couchdb, database):
    recorded_couchdb.script = first_run()
    copy(Recorded)
    assert database.rows("select instance_start_time from v1.couchdb_progress") == [("1795319960",)]
    alive = [name for name, deleted in states(database).items() if not deleted]
    assert alive
    again = recorded("database_recreated").replace(b'"doc_count":0', b'"doc_count":1')
    page = b'{"results":[{"id":"a","changes":[{"rev":"1-n"}],"doc":{"_id":"a","_rev":"1-n"}}],"last_seq":"1-n","pending":0}'

    def row(name):
        return {"key": name, **({"value": {"rev": "1-n"}} if name == "a" else {"error": "not_found"})}

    known = json.dumps({"rows": [row(name) for name in alive]}).encode()
    still = json.dumps({"rows": [row(name) for name in alive if name != "a"]}).encode()
    recorded_couchdb.script = [Answer(body=body) for body in (again, recorded("server"), page)]
    recorded_couchdb.script += [Answer(body=known), Answer(body=still)]
    recorded_couchdb.requests.clear()
    copy(Recorded)
    assert any("since=0" in path for _, path, _ in recorded_couchdb.requests)
    assert [name for name, deleted in states(database).items() if not deleted] == ["a"]
    assert database.rows("select instance_start_time, seq from v1.couchdb_progress") == [("1795319961", "1-n")]


def test_a_server_that_cannot_say_whether_a_document_exists_buries_none(recorded_couchdb, database):
    recorded_couchdb.script = first_run()
    copy(Recorded)
    before = states(database)
    again = recorded("database_recreated").replace(b'"doc_count":0', b'"doc_count":1')
    page = b'{"results":[],"last_seq":"1-n","pending":0}'
    sick = json.dumps({"rows": [{"key": name, "error": "timeout"} for name, deleted in before.items() if not deleted]})
    recorded_couchdb.script = [Answer(body=body) for body in (again, recorded("server"), page, sick.encode())]
    with pytest.raises(CouchDBError, match="does not say whether"):
        copy(Recorded)
    assert states(database) == before
    assert database.value("select sweep_after from v1.couchdb_progress") == ""


def test_an_old_checkpoint_of_a_database_that_is_empty_now(recorded_couchdb, database):
    """CouchDB answers the old seq with an empty page and nothing pending: nothing else would tell."""
    recorded_couchdb.script = first_run()
    copy(Recorded)
    recorded_couchdb.script = [Answer(body=recorded("database_recreated")), Answer(body=recorded("server"))]
    recorded_couchdb.script += [Answer(body=recorded("changes_old_seq_after_recreation"))]
    with pytest.raises(SettingsError, match="Database 'record' is empty"):
        copy(Recorded)


def test_a_checkpoint_of_cht_sync_2_learns_when_the_database_was_made(recorded_couchdb, database):
    recorded_couchdb.script = first_run()
    copy(Recorded)
    database.rows("update v1.couchdb_progress set instance_start_time = null")
    recorded_couchdb.script = [Answer(body=recorded("database")), Answer(body=recorded("server"))]
    recorded_couchdb.script += [Answer(body=recorded("changes_after_purge"))]
    assert copy(Recorded)["drained"]
    assert database.rows("select instance_start_time from v1.couchdb_progress") == [("1795319960",)]


def test_a_source_that_nobody_reads_any_more_is_given_up(couch, database, monkeypatch):  # noqa: F811
    couch.write({"_id": "a"}, {"_id": "b"})
    copy(couch)
    monkeypatch.setenv("COUCHDB_DBS", "another")
    with pytest.raises(SettingsError, match="confirm_gone names 'typo/medic'"):
        list_sources.function({"confirm_gone": [couch.source, "typo/medic"]})
    assert set(states(database).values()) == {False}
    list_sources.function({"confirm_gone": [couch.source]})
    assert states(database) == {"a": True, "b": True}


def test_every_document_in_quarantine_is_tried_again(couch, database, monkeypatch):  # noqa: F811
    couch.write(*({"_id": f"d{n}", "v": n} for n in range(50)), {"_id": "big", "x": "y" * 2_000_000})
    monkeypatch.setenv("CHT_SYNC_MAX_MB", "1")
    assert copy(couch)["quarantined"] == 1
    assert database.rows("select _id, body_bytes > 2000000, sqlstate from v1.couchdb_quarantine") == [
        ("big", True, None)
    ]
    database.rows("delete from v1.couchdb where _id < 'd3'")
    with own_store() as store:
        store.save_documents(
            couch.source,
            [],
            [Refused(Change(f"d{n}", [Revision("1-x")]), "why") for n in range(30)],
            store.state(couch.source),
        )
    monkeypatch.setenv("CHT_SYNC_MAX_MB", "64")
    assert copy(couch)["resolved"] == 0
    summary = copy(couch, {"params": {"retry_quarantine": True}})
    assert summary["resolved"] == 31
    assert database.value("select count(*) from v1.couchdb where not _deleted") == 51
    assert database.value("select count(*) from v1.couchdb_quarantine where resolved_at is null") == 0


def test_what_couchdb_did_not_hand_out_is_tried_again_by_itself(couch, database):  # noqa: F811
    couch.write({"_id": "a"})
    copy(couch)
    with own_store() as store:
        refused = [Refused(Change(name), "server down") for name in "ab"]
        store.save_documents(couch.source, [], refused, store.state(couch.source))
    assert copy(couch)["resolved"] == 0
    database.rows("update v1.couchdb_quarantine set last_seen = now() - interval '2 hours'")
    assert copy(couch)["resolved"] == 1
    assert database.rows("select _id, attempts from v1.couchdb_quarantine where resolved_at is null") == [("b", 2)]
