"""Event mode while CouchDB is quiet: what a run left for the next one, and a database that is not the same any more."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from cht_sync.sync import database_identity, older_documents
from cht_sync.triggers import changes
from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.machine.replicas import ReplicatedDatabase
from tests.integration.store.test_older_revisions import SOURCE, Medic, restored
from tests.integration.triggers.test_changes_trigger import NOT_SOON, SOON, play

pytestmark = pytest.mark.integration
APART = 5.0
OPEN = "select count(*)::int from v1.couchdb_older_revision where settled_at is null"


@pytest.fixture
def served(monkeypatch, database):
    """Makes a database of a cluster the one that is copied; pauses are short."""
    cluster = Cluster()
    for name, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(cluster.port),
        "COUCHDB_DBS": "medic",
        "CHT_FIRST_LOAD_THRESHOLD": "0",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(database_identity, "SECOND_LOOK_S", 0.0)
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.0)
    monkeypatch.setattr(older_documents, "PAUSE", timedelta())
    monkeypatch.setattr(changes, "LONG_POLL_S", 1.0)
    monkeypatch.setattr(changes, "QUIET_S", 0.1)
    monkeypatch.setattr(changes, "LOOK_S", 0.1)

    def serve(couch):
        cluster.databases["medic"] = couch
        return Medic(couch, database)

    serve.cluster = cluster
    yield serve
    cluster.close()


@pytest.fixture
def one_copy(served, monkeypatch):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "1")
    medic = served(ClusterDatabase("medic", 1))
    medic.write("a")
    medic.sync()
    return medic


def asks_once(medic):
    """A run is asked for, and none after it."""

    async def story(waited):
        assert await waited.event(SOON) == [SOURCE]
        await asyncio.to_thread(medic.sync)
        assert await waited.event(NOT_SOON) is None

    play(story)


def test_older_revisions_are_looked_at_again_at_most_once_a_minute(served, monkeypatch):
    medic = served(ReplicatedDatabase("medic", 1))
    restored(medic)
    medic.read_again()
    assert medic.database.value(OPEN) == 2
    assert changes.APART_S == 60
    monkeypatch.setattr(changes, "APART_S", APART)

    async def story(waited):
        assert await waited.event(SOON) == [SOURCE]
        await asyncio.to_thread(medic.sync)
        assert await waited.event(APART - 2) is None
        assert await waited.event(SOON) == [SOURCE]
        monkeypatch.setenv("CHT_OLDER_AFTER", "0")
        for _ in range(older_documents.LOOKS):
            await asyncio.to_thread(medic.sync)
        assert medic.database.value(OPEN) == 0
        assert await waited.event(APART + 2) is None

    play(story)
    assert medic.rows()["a"] == ("1-a", False)


def test_older_revisions_that_were_just_looked_at_start_no_run(served, monkeypatch):
    medic = served(ReplicatedDatabase("medic", 1))
    restored(medic)
    medic.read_again()
    monkeypatch.setattr(older_documents, "PAUSE", timedelta(minutes=5))

    async def story(waited):
        assert await waited.event(NOT_SOON) is None

    play(story)


@pytest.mark.parametrize(
    "left",
    [
        "update v1.couchdb_progress set sweep_after = ''",
        "update v1.couchdb_first_load set proven_at = null",
        "insert into v1.couchdb_quarantine (source, key, _id, body, body_bytes, reason, last_seen)"
        " values ('127.0.0.1/medic', sha256('a'), 'a', '', 0, 'not handed out', now() - interval '11 minutes')",
    ],
    ids=["sweep", "proof of a first load", "quarantine"],
)
def test_what_a_run_has_left_is_done_though_nothing_changes(one_copy, monkeypatch, left):
    monkeypatch.setattr(changes, "APART_S", 0.5)
    one_copy.database.rows(left)
    asks_once(one_copy)


def test_a_quarantine_that_was_just_tried_starts_no_run(one_copy):
    values = "('127.0.0.1/medic', sha256('{0}'), '{0}', '', 0, 'no', now() - interval '{1} minutes')"
    for name, minutes in (("a", 11), ("b", 9)):
        one_copy.database.rows(
            "insert into v1.couchdb_quarantine (source, key, _id, body, body_bytes, reason, last_seen) values "
            + values.format(name, minutes)
        )

    async def story(waited):
        assert await waited.event(NOT_SOON) is None

    play(story)


def test_a_restored_backup_of_one_copy_starts_a_run(served, one_copy, monkeypatch):
    monkeypatch.setattr(changes, "APART_S", 0.5)
    backup = one_copy.couch.snapshot()
    for _ in range(5):
        one_copy.write("a")
    one_copy.write("lost")
    one_copy.sync()
    served.cluster.databases["medic"] = one_copy.couch = backup
    one_copy.write("new")
    asks_once(one_copy)
    assert "restored backup" in one_copy.database.value("select doubt from v1.couchdb_progress")


@pytest.mark.parametrize("copies", [ClusterDatabase, ReplicatedDatabase], ids=["one copy", "several"])
def test_a_database_that_was_made_again_starts_a_run(served, monkeypatch, copies):
    monkeypatch.setattr(changes, "APART_S", 0.5)
    medic = served(ReplicatedDatabase("medic", 1))
    medic.write("a")
    medic.sync()
    medic = served(copies("medic", 2))
    medic.write("a")
    for each in getattr(medic.couch, "_copies", [medic.couch]):
        each.created = "1700000001"
    # As CouchDB answers an old seq: nothing, and nothing pending.
    monkeypatch.setattr("cht_sync.couchdb.hook.CouchDBHook.has_changes", lambda *_: False)
    asks_once(medic)
    assert medic.database.value("select instance_start_time from v1.couchdb_progress") == "1700000001"


def test_before_the_first_run_after_an_upgrade_nothing_fails(one_copy):
    one_copy.database.rows("drop table v1.couchdb_older_revision")

    async def story(waited):
        assert await waited.event(NOT_SOON) is None

    play(story)
    assert one_copy.database.rows("select now() - drained_at < interval '3 seconds' from v1.couchdb_progress") == [
        (True,)
    ]
