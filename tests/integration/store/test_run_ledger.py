"""The ledger: what of a run is in it, and what of a run that was cut off is not."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from cht_sync.couchdb.structs import Change, Refused
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.checkpoints import Checkpoints
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.run_ledger import Run
from tests.integration.conftest import page_of
from tests.integration.operators.test_operator import copy, couch  # noqa: F401

pytestmark = pytest.mark.integration
SOURCE = "host/medic"


def a_store(run=None):
    store = DocumentStore(postgres_connection(), RawTable("v1", "couchdb"), run=run)
    store.prepare()
    store.claim(SOURCE)
    return store


def windows(database, columns="seq_from, seq_to, pages, documents, tombstones, changed, quarantined"):
    return database.rows(f"select {columns} from v1.couchdb_window order by started_at")


def test_a_run_is_one_window(database):
    run = Run("cht_sync", "scheduled__x", datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 2, tzinfo=UTC))
    with a_store(run) as store:
        store.save(SOURCE, page_of({"_id": "a"}, {"_id": "b", "_deleted": True}, last_seq="2-a", pending=1), None, "17")
        odd = page_of({"_id": "c"}, last_seq="3-a")
        odd.refused.append(Refused(Change("odd"), "why", body=b"bytes"))
        store.save(SOURCE, odd, "2-a", "17")
        store.save_documents(SOURCE, [page_of({"_id": "d"}).results[0]], [], store.state(SOURCE))
    assert windows(database) == [(None, "3-a", 2, 5, 1, 4, 1)]
    assert windows(database, "dag_id, run_id, interval_start, interval_end, instance_start_time") == [
        ("cht_sync", "scheduled__x", run.interval_start, run.interval_end, "17")
    ]
    stamps = database.rows("select min(saved_timestamp), max(saved_timestamp) from v1.couchdb")
    assert windows(database, "stamp_from, stamp_to") == stamps
    assert windows(database, "ended_at >= started_at and seconds >= 0 and bytes > 0") == [(True,)]


def test_windows_follow_one_another(couch, database):  # noqa: F811
    run = SimpleNamespace(dag_id="cht_sync", run_id="manual")
    for number in range(3):
        couch.write({"_id": f"d{number}"})
        copy(couch, {"dag_run": run})
    found = windows(database, "seq_from, seq_to, documents, run_id")
    assert [each[2:] for each in found] == [(1, "manual")] * 3
    assert [each[0] for each in found] == [None, *(each[1] for each in found[:-1])]
    assert found[-1][1] == database.value("select seq from v1.couchdb_progress")


def test_a_page_that_is_rolled_back_leaves_no_window(database, monkeypatch):
    with a_store() as store:
        store.save(SOURCE, page_of({"_id": "a"}, last_seq="1-a"), None)
        move = Checkpoints.move

        def cut(self, *arguments, **options):
            move(self, *arguments, **options)
            raise KeyboardInterrupt  # after the statement, before the commit

        monkeypatch.setattr(Checkpoints, "move", cut)
        with pytest.raises(KeyboardInterrupt):
            store.save(SOURCE, page_of({"_id": "b"}, last_seq="2-a"), "1-a")
        monkeypatch.undo()
        assert windows(database) == [(None, "1-a", 1, 1, 0, 1, 0)]
