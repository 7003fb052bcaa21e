"""What a proof finds and repairs, and what it leaves alone; the oracle has the last word."""

from __future__ import annotations

import threading

import pytest

from cht_sync.__main__ import main
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.structs import Change, Refused, Revision
from cht_sync.errors import SettingsError, StoreError
from cht_sync.reconcile.run import open_proof
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from tests.integration.operators.test_operator import Couch, copy, couch  # noqa: F401
from tests.integration.reconcile.proving import context, prove_all

pytestmark = pytest.mark.integration


@pytest.fixture
def synced(couch, database):  # noqa: F811
    revisions = dict(couch.write(*({"_id": f"d{n:03}", "n": n, "text": "Ámina 😀"} for n in range(250))))
    couch.write(*({"_id": f"d{n:03}", "_rev": revisions[f"d{n:03}"], "n": -n} for n in range(100, 150)))
    couch.write(
        *({"_id": f"d{n:03}", "_rev": revisions[f"d{n:03}"], "_deleted": True, "why": n} for n in range(150, 170))
    )
    copy(couch)
    return couch


def stamps(database):
    return dict(database.rows("select _id, saved_timestamp from v1.couchdb"))


DAMAGE = {
    "deleted rows": "delete from v1.couchdb where _id between 'd010' and 'd030'",
    "deleted tombstones": "delete from v1.couchdb where _id between 'd155' and 'd158'",
    "old revisions": "update v1.couchdb set doc = jsonb_set(doc, '{_rev}', '\"1-0\"') where _id between 'd120' and 'd125'",
    "resurrected tombstones": "update v1.couchdb set _deleted = false where _id between 'd160' and 'd165'",
    "buried documents": "update v1.couchdb set _deleted = true where _id between 'd200' and 'd203'",
    "ghosts": "insert into v1.couchdb select now(), 'ghost' || n, false, source, jsonb_build_object('_id', 'ghost' || n, '_rev', '1-a')"
    " from v1.couchdb, generate_series(1, 3) n where _id = 'd000'",
}
COUNTS = {
    "deleted rows": 21, "deleted tombstones": 4, "old revisions": 6, "resurrected tombstones": 6,
    "buried documents": 4, "ghosts": 3,
}  # fmt: skip


def test_an_equal_copy_is_left_alone(synced, database, differences):
    before = stamps(database)
    summary = prove_all(synced.name, synced.source)
    assert (summary.bad, summary.differences, summary.repaired, summary.on_the_way) == (False, 0, 0, 0)
    assert summary.compared >= 250
    assert stamps(database) == before
    parts = database.rows("select part, verdict from v1.couchdb_reconciliation order by planned_at, part")
    assert len(parts) >= 6
    assert {verdict for _, verdict in parts} == {"equal"}
    assert differences(synced) == []


def test_damage_of_every_kind_is_found_and_repaired(synced, database, differences):
    for statement in DAMAGE.values():
        database.rows(statement)
    before = stamps(database)
    told = prove_all(synced.name, synced.source, dry_run=True)
    assert (told.bad, told.differences, told.repaired) == (True, sum(COUNTS.values()), 0)
    assert stamps(database) == before
    summary = prove_all(synced.name, synced.source)
    assert (summary.bad, summary.differences, summary.repaired) == (False, told.differences, told.differences)
    found = differences(synced)
    assert [each for each in found if "ghost" not in each] == []
    assert database.rows("select _deleted from v1.couchdb where _id like 'ghost%'") == [(True,)] * 3
    after = stamps(database)
    # What was repaired is newer than everything, for the models; nothing else was touched.
    changed = {name for name, stamp in after.items() if before.get(name) != stamp}
    assert len(changed) == sum(COUNTS.values())
    assert min(after[name] for name in changed) > max(before.values())
    assert prove_all(synced.name, synced.source).differences == 0


def test_altered_content_is_found_where_it_is_asked_for(synced, database, differences):
    database.rows("update v1.couchdb set doc = doc || '{\"n\": 12345}' where _id in ('d001', 'd110', 'd155')")
    assert prove_all(synced.name, synced.source).differences == 0
    summary = prove_all(synced.name, synced.source, compare_content=True)
    assert (summary.differences, summary.repaired) == (3, 3)
    assert database.rows("select sum(altered)::int from v1.couchdb_reconciliation") == [(3,)]
    assert differences(synced) == []


def test_what_a_trigger_drops_is_not_told_as_repaired(synced, database):
    database.rows("update v1.couchdb set doc = doc || '{\"n\": 12345}' where _id = 'd001'")
    database.rows(
        "create function mine() returns trigger language plpgsql as 'begin return null; end';"
        " create trigger mine before update on v1.couchdb for each row execute function mine()"
    )
    with pytest.raises(StoreError, match="Trigger mine on v1.couchdb kept 1 of 1 documents"):
        prove_all(synced.name, synced.source, compare_content=True)


def test_a_change_that_waits_in_the_feed_is_no_difference(synced, database):
    synced.write(*({"_id": f"new{n}"} for n in range(5)))
    before = stamps(database)
    summary = prove_all(synced.name, synced.source)
    assert (summary.bad, summary.differences, summary.on_the_way) == (False, 0, 5)
    assert stamps(database) == before


def test_no_false_alarm_while_documents_are_written_and_copied(synced, database, differences, monkeypatch):
    stop, edits = threading.Event(), []

    def write_and_copy():
        revisions = {
            each["id"]: each["value"]["rev"] for each in synced.session.get(f"{synced.url}/_all_docs").json()["rows"]
        }
        while not stop.is_set():
            for name in list(revisions)[:40]:
                revisions.update(synced.write({"_id": name, "_rev": revisions[name], "edit": len(edits)}))
                edits.append(name)
            copy(synced)

    thread = threading.Thread(target=write_and_copy)
    thread.start()
    try:
        found = [prove_all(synced.name, synced.source) for _ in range(3)]
    finally:
        stop.set()
        thread.join()
    assert len(edits) > 40
    assert [(each.bad, each.differences, list(each.reasons)) for each in found] == [(False, 0, [])] * 3
    copy(synced)
    assert differences(synced) == []


def test_a_repair_waits_for_a_sync_and_never_stores_an_older_state(synced, database, differences):
    database.rows("delete from v1.couchdb where _id = 'd001'")
    revision = synced.states()["d001"]["_rev"]
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb"), "a sync") as sync:
        sync.claim(synced.source)
        done = []
        thread = threading.Thread(target=lambda: done.append(prove_all(synced.name, synced.source)))
        thread.start()
        thread.join(1.0)
        assert not done
        synced.write({"_id": "d001", "_rev": revision, "newer": True})
    copy(synced)
    thread.join(30)
    assert done[0].bad is False
    copy(synced)
    assert database.value("select doc->>'newer' from v1.couchdb where _id = 'd001'") == "true"
    assert differences(synced) == []


def test_quarantine_and_collisions_are_places_too(synced, couchdb_server, database, differences):
    other = Couch(couchdb_server)
    other.write({"_id": "d001", "other": True}, {"_id": "d002", "other": True}, {"_id": "own"})
    copy(other)
    odd = dict(synced.write({"_id": "odd"}))["odd"]
    copy(synced)
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.claim(synced.source)
        change = Change("odd", [Revision(odd)])
        store.save_documents(synced.source, [], [Refused(change, "why", body=b"{}")], store.state(synced.source))
    database.rows("delete from v1.couchdb where _id = 'odd'")
    assert prove_all(synced.name, synced.source).differences == 0
    assert prove_all(other.name, other.source).differences == 0
    database.rows("delete from v1.couchdb_collision where _id = 'd002'")
    database.rows("update v1.couchdb_quarantine set resolved_at = now()")
    assert prove_all(other.name, other.source).repaired == 1
    assert prove_all(synced.name, synced.source).repaired == 1
    assert [*differences(synced), *differences(other)] == []


def test_a_database_that_was_emptied_buries_nothing(synced, database):
    before = stamps(database)
    assert synced.session.delete(synced.url).ok
    with pytest.raises(SettingsError, match="404"):
        prove_all(synced.name, synced.source)
    assert synced.session.put(synced.url).ok
    synced.write({"_id": "d001"})
    summary = prove_all(synced.name, synced.source)
    assert summary.bad
    assert "another database than before" in " ".join(summary.reasons)
    assert stamps(database) == before


def test_a_table_that_lost_everything_is_filled_again(synced, database, differences):
    database.rows("delete from v1.couchdb")
    summary = prove_all(synced.name, synced.source)
    assert (summary.bad, summary.repaired) == (False, 250)
    assert differences(synced) == []


def test_the_answer_on_one_line(synced, database, monkeypatch, capsys):
    monkeypatch.setenv("COUCHDB_DBS", synced.name)
    assert main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split() == [synced.source, "230", "230", "0", "0", "0", "0", "equal"]
    database.rows("delete from v1.couchdb where _id = 'd001'")
    assert main(["verify"]) == 1
    assert capsys.readouterr().out.splitlines()[-1].split()[-2:] == ["1", "differs"]
    assert database.rows("select 1 from v1.couchdb where _id = 'd001'") == []
    assert prove_all(synced.name, synced.source).repaired == 1
    synced.write({"_id": "new"})
    assert main(["verify"]) == 1
    assert "not there yet" in capsys.readouterr().out
    copy(synced)
    database.rows("insert into v1.couchdb_progress (source, seq) values ('gone/medic', '1')")
    database.rows("insert into v1.couchdb values (now(), 'x', false, 'gone/medic', '{}')")
    assert main(["verify"]) == 1
    assert "gone/medic: gone/medic is configured no more" in capsys.readouterr().out


def test_a_proof_that_is_ended_goes_on_and_still_tells_what_it_repaired(synced, database, differences, monkeypatch):
    monkeypatch.setattr("cht_sync.reconcile.repair.AT_ONCE", 5)
    database.rows("delete from v1.couchdb where _id between 'd000' and 'd020'")
    put, calls = DocumentStore.save_documents, []

    def ended(self, *arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return put(self, *arguments, **options)

    monkeypatch.setattr(DocumentStore, "save_documents", ended)
    with open_proof(Settings(), CouchDBHook(), synced.name, synced.source, context("one run")) as proof:
        parts = proof.plan(None, full=True)
        with pytest.raises(KeyboardInterrupt):
            proof.run_part(parts[0])
        assert proof.results.summary().unfinished == len(parts)
    with open_proof(Settings(), CouchDBHook(), synced.name, synced.source, context("one run")) as proof:
        for part in parts:
            proof.run_part(part)
        summary = proof.results.summary()
    assert (summary.bad, summary.repaired) == (False, 21)
    assert database.rows("select verdict from v1.couchdb_reconciliation where part = 'range 1'") == [("repaired",)]
    assert differences(synced) == []


def test_what_is_too_old_is_forgotten(synced, database):
    prove_all(synced.name, synced.source)
    database.rows("update v1.couchdb_window set ended_at = now() - interval '11 days'")
    database.rows("update v1.couchdb_reconciliation set planned_at = now() - interval '11 days'")
    with open_proof(Settings(), CouchDBHook(), synced.name, synced.source, context()) as proof:
        proof.plan(None, full=True)
        proof.results.prune(10)
        planned = database.value("select count(*) from v1.couchdb_reconciliation")
    assert database.value("select count(*) from v1.couchdb_window") == 0
    assert 0 < planned == database.value("select count(*) from v1.couchdb_reconciliation where verdict is null")
    # Of the proofs that are over nothing is left in the listing.
    assert database.value("select count(*) from v1.couchdb_listing") == 0


def sizes_of(synced):
    """Parts that are ranges, with the documents that each compared."""
    with open_proof(Settings(), CouchDBHook(), synced.name, synced.source, context()) as proof:
        parts = [part for part in proof.plan(None, full=True) if part.startswith("range")]
        return [proof.run_part(part).compared for part in parts]


def test_ranges_are_drawn_without_making_the_server_walk(synced, monkeypatch):
    monkeypatch.setenv("CHT_RECONCILE_RANGE", "60")
    monkeypatch.setattr("cht_sync.reconcile.proof.id_ranges", None)
    sizes = sizes_of(synced)
    assert (sum(sizes), len(sizes)) == (230, 4)
    assert max(sizes) < 80


def test_where_postgres_holds_too_little_the_server_draws_them(synced, database, differences, monkeypatch):
    monkeypatch.setenv("CHT_RECONCILE_RANGE", "60")
    database.rows("delete from v1.couchdb where _id > 'd060' and not _deleted")
    assert sizes_of(synced) == [60, 60, 60, 50]
    assert differences(synced) == []


def test_ids_beside_the_listing_are_found_piece_by_piece(synced, database, monkeypatch):
    monkeypatch.setattr("cht_sync.reconcile.postgres_side.UNLISTED_AT_A_TIME", 7)
    database.rows(DAMAGE["ghosts"].replace("generate_series(1, 3)", "generate_series(1, 50)"))
    summary = prove_all(synced.name, synced.source)
    assert (summary.bad, summary.repaired) == (False, 50)
    assert database.value("select count(*) from v1.couchdb where not _deleted") == 230
