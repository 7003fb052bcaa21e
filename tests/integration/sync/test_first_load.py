"""The first load of a source by ranges: complete whatever happens meanwhile, and the feed goes on behind it."""

from __future__ import annotations

import pytest
import requests

from cht_sync.errors import CheckpointConflictError, CouchDBError
from cht_sync.sync import first_load
from tests.faults.proxy import Fault, FaultProxy, http_answer
from tests.integration.operators.test_operator import Couch, copy
from tests.oracle.oracle import compare
from tests.servers import given

pytestmark = pytest.mark.integration

RANGE = b"include_docs=true&startkey"


@pytest.fixture
def loaded(couchdb_server, database, monkeypatch):
    return large(couchdb_server, database, monkeypatch)


def large(couchdb_server, database, monkeypatch):
    """Makes every database a large one; its parts are small."""
    for name, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(couchdb_server.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
        "CHT_FIRST_LOAD_THRESHOLD": "1",
        "CHT_FIRST_LOAD_CONNECTIONS": "3",
    }.items():
        monkeypatch.setenv(name, value)
    return Loaded(Couch(couchdb_server), database)


class Loaded:
    """One source that is loaded by ranges, with what the tests look at."""

    def __init__(self, couch, database):
        self.couch, self.database = couch, database

    def fill(self, count=60):
        """Documents, some of them edited, some deleted, one brought back to life."""
        written = self.couch.write(*({"_id": f"d{n:03}", "n": n, "text": "x" * (n % 7 * 100)} for n in range(count)))
        edits = [{"_id": name, "_rev": rev, "edited": True} for name, rev in written[::5]]
        deletes = [{"_id": name, "_rev": rev, "_deleted": True, "why": "last words"} for name, rev in written[3::7]]
        self.couch.write(*deletes)
        self.couch.write(*(each for each in edits if each["_id"] not in {one["_id"] for one in deletes}))
        self.couch.write({"_id": written[3][0], "again": True})

    def differences(self):
        couch, server = self.couch, self.couch.url.rpartition("/")[0]
        return compare(server, couch.session.auth, couch.name, couch.source, self.database.dsn).differences

    def parts(self):
        query = "select part, position, done, documents from v1.couchdb_first_load order by part"
        return self.database.rows(query)

    def checkpoint(self):
        rows = self.database.rows("select seq from v1.couchdb_progress")
        return rows[0][0] if rows else None

    def verdicts(self):
        return {verdict for (verdict,) in self.database.rows("select verdict from v1.couchdb_reconciliation")}


def test_everything_is_there_and_proven(loaded, caplog):
    loaded.fill()
    with caplog.at_level("INFO"):
        progress = copy(loaded.couch, batch_size=5)
    assert progress["drained"]
    assert loaded.differences() == []
    names = [part for part, *_ in loaded.parts()]
    # pouchdb-server does not list all ids, so that the rest is looked for; here nothing was left out.
    rest = [] if given("couchdb") else ["rest"]
    ranges = len(names) - 1 - len(rest)
    assert names == [*(f"range {number:03}" for number in range(1, ranges + 1)), *rest, "tombstones"]
    assert ranges > 2
    assert [documents for part, _, _, documents in loaded.parts() if part == "rest"] == [0] * len(rest)
    assert all(done for _, _, done, _ in loaded.parts())
    # The proof came last, and nothing was left to repair.
    assert loaded.verdicts() == {"equal"}
    assert "the first load is verified" in caplog.text
    assert loaded.database.rows("select count(*) from v1.couchdb_first_load where proven_at is null") == [(0,)]
    # The ledger knows of each document, for proofs of a day.
    assert loaded.database.rows("select sum(changed)::int from v1.couchdb_window") == [(60,)]
    assert loaded.database.rows("select min(bytes) > 0, bool_and(stamp_from <= stamp_to) from v1.couchdb_window") == [
        (True, True)
    ]

    again = copy(loaded.couch, batch_size=5)
    assert (again["documents"], again["rows"]) == (0, 0)


def test_a_small_database_and_one_that_was_read_are_left_to_the_feed(loaded, monkeypatch):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "1000")
    loaded.fill()
    copy(loaded.couch)
    assert loaded.parts() == []
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "1")
    copy(loaded.couch)
    assert loaded.parts() == []
    assert loaded.differences() == []


@pytest.mark.parametrize(("threshold", "param", "by_ranges"), [("0", False, False), ("0", True, True)])
def test_it_can_be_switched_off_and_asked_for(loaded, monkeypatch, threshold, param, by_ranges):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", threshold)
    loaded.fill(20)
    copy(loaded.couch, {"params": {"first_load": param}})
    assert bool(loaded.parts()) is by_ranges
    assert loaded.differences() == []


def test_what_changes_while_it_loads_comes_with_the_feed(loaded, monkeypatch):
    loaded.fill()
    saved, changed = first_load.FirstLoad._save, []

    def save(self, part, page, position, state):
        saved(self, part, page, position, state)
        number = len(changed)
        name, rev = f"d{number * 2 + 1:03}", None
        answer = loaded.couch.session.get(f"{loaded.couch.url}/{name}")
        if answer.ok:
            rev = answer.json()["_rev"]
            changed.append(name)
            loaded.couch.write(
                {"_id": name, "_rev": rev, "_deleted": number % 2 == 0, "late": number},
                {"_id": f"a new one {number}"},
            )

    monkeypatch.setattr(first_load.FirstLoad, "_save", save)
    assert copy(loaded.couch, batch_size=5)["drained"]
    assert len(changed) > 2
    assert loaded.differences() == []


def test_a_run_that_has_no_more_time_is_followed_by_one_that_goes_on(loaded):
    loaded.fill()
    copy(loaded.couch, batch_size=5, time_budget=1e-9)
    runs, seen = 0, 0
    while loaded.checkpoint() is None:
        progress = copy(loaded.couch, batch_size=5, time_budget=1e-9)
        assert runs == 0 or progress["documents"] < 60, "it began again"
        stored_now = sum(documents for *_, documents in loaded.parts())
        assert stored_now >= seen
        runs, seen = runs + 1, stored_now
        assert runs < 200
    assert runs > 10
    while not copy(loaded.couch, time_budget=5)["drained"]:
        pass
    assert loaded.differences() == []
    assert seen == 60


def test_where_couchdb_ends_in_the_middle_the_next_run_goes_on(loaded, monkeypatch):
    loaded.fill()
    host, port = loaded.couch.url.partition("//")[2].partition("/")[0].split(":")
    monkeypatch.setattr("cht_sync.couchdb.hook.CouchDBHook.__init__.__defaults__", ("cht_couchdb", 0.3))
    with FaultProxy(host, int(port)) as proxy:
        monkeypatch.setenv("COUCHDB_PORT", str(proxy.port))
        for _ in range(3):
            proxy.inject(Fault(match=RANGE, times=2))  # so many are answered, then none
            proxy.inject(Fault(match=RANGE, answer=http_answer(503)))
            with pytest.raises(CouchDBError):
                copy(loaded.couch, batch_size=5)
            proxy.clear()
        assert loaded.checkpoint() is None
        assert loaded.parts()
        assert copy(loaded.couch, batch_size=5)["drained"]
    assert loaded.differences() == []


def test_what_postgres_cannot_hold_is_in_quarantine_and_odd_ids_are_there(loaded):
    loaded.fill(10)
    odd = [
        "_design/x",
        "with space",
        "a\u0001b",
        "é",
        "子",
        "😀",
        'quote"',
        "back\\slash",
        "per%25cent",
        "a/b",
        "+plus",
        "~",
    ]
    loaded.couch.write(*({"_id": name, "n": number} for number, name in enumerate(odd)))
    loaded.couch.write({"_id": "too large", "n": 1}, {"_id": "bad", "a\u0000": 1, "a": 2})
    assert copy(loaded.couch, batch_size=2)["drained"]
    assert loaded.differences() == []
    assert [name for (name,) in loaded.database.rows("select _id from v1.couchdb_quarantine")] == ["bad"]
    assert loaded.verdicts() == {"equal"}


def test_large_documents_come_one_by_one(loaded, monkeypatch):
    monkeypatch.setenv("CHT_SYNC_MAX_MB", "1")
    loaded.fill(10)
    loaded.couch.write(*({"_id": f"large {n}", "x": "y" * 700_000} for n in range(4)))
    loaded.couch.write({"_id": "larger", "x": "y" * 1_200_000})
    assert copy(loaded.couch, batch_size=50)["drained"]
    assert loaded.database.rows("select count(*)::int from v1.couchdb where not _deleted") == [(14,)]
    assert [name for (name,) in loaded.database.rows("select _id from v1.couchdb_quarantine")] == ["larger"]


def test_a_checkpoint_of_another_writer_ends_it_and_stays(loaded, monkeypatch):
    loaded.fill()
    copy(loaded.couch, batch_size=5, time_budget=1e-9)
    saved = first_load.FirstLoad._save

    def save(self, part, page, position, state):
        loaded.database.rows("update v1.couchdb_progress set seq = '7'")
        saved(self, part, page, position, state)

    before = loaded.parts()
    with monkeypatch.context() as patch:
        patch.setattr(first_load.FirstLoad, "_save", save)
        with pytest.raises(CheckpointConflictError, match="moved by another writer"):
            copy(loaded.couch, batch_size=5)
    assert loaded.parts() == before
    assert loaded.checkpoint() == "7"
    # The feed goes on from there, as with any checkpoint.
    loaded.database.rows("update v1.couchdb_progress set seq = '0'")
    assert copy(loaded.couch)["drained"]
    assert loaded.differences() == []


def test_a_database_that_was_made_again_is_loaded_from_its_beginning(loaded):
    loaded.fill()
    copy(loaded.couch, batch_size=5, time_budget=1e-9)
    copy(loaded.couch, batch_size=5, time_budget=1e-9)
    requests.delete(loaded.couch.url, auth=loaded.couch.session.auth, timeout=10).raise_for_status()
    assert loaded.couch.session.put(loaded.couch.url).ok
    loaded.couch.write({"_id": "new"}, {"_id": "d001", "new": True})
    assert copy(loaded.couch, batch_size=5)["drained"]
    alive = loaded.database.rows("select _id from v1.couchdb where not _deleted order by 1")
    assert alive == [("d001",), ("new",)]


def test_copied_again_from_the_beginning_it_is_planned_anew(loaded):
    loaded.fill(20)
    copy(loaded.couch)
    loaded.database.rows("delete from v1.couchdb_progress")
    progress = copy(loaded.couch)
    assert (progress["drained"], progress["rows"]) == (True, 0)
    assert progress["documents"] >= 20
