"""Bodies of deleted documents: which are stored, and how those of before are cut."""

import itertools
import json
import threading

import psycopg2
import pytest

from cht_sync.__main__ import main
from cht_sync.check.postgres import check_postgres
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.locks import Locks
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.tombstones import TombstoneStore, cut_tombstones
from tests.integration.conftest import page_of
from tests.integration.store.test_quarantine import raw_page

pytestmark = pytest.mark.integration
NORTH, SOUTH = "north/medic", "south/medic"
KEEPING = RawTable("v1", "couchdb", tombstone_bodies=True)
RAW = RawTable("v1", "couchdb")


def dead(name, **more):
    return {"_id": name, "_rev": "2-x", "_deleted": True, "name": "Amina", "phone": "+254", **more}


def stub(name):
    return {"_id": name, "_rev": "2-x", "_deleted": True}


@pytest.fixture
def kept(database):
    """A copy of two sources with 1,200 deleted documents that were stored whole, and 50 that live."""
    with DocumentStore(postgres_connection(), KEEPING) as store:
        store.prepare()
        for source in (NORTH, SOUTH):
            store.claim(source)
        live = [{"_id": f"live{n}", "name": "Amina"} for n in range(50)]
        store.save(NORTH, page_of(*(dead(f"d{n:04}") for n in range(1200)), *live, last_seq="1"), None)
        store.save(NORTH, page_of(dead("odd\0id"), {"_id": "odd2\0id", "name": "Amina"}, last_seq="2"), "1")
        body = rb'{"_id":"last words","_rev":"2-x","_deleted":true,"name":"\ud800Amina"}'
        store.save(NORTH, raw_page(body, last_seq="3", deleted={"last words"}), "2")
        # It was in quarantine, left it, and was deleted then.
        store.save(NORTH, raw_page(rb'{"_id":"mended","_rev":"1-x","name":"\ud800Amina"}', last_seq="4"), "3")
        store.save(NORTH, page_of({"_id": "mended"}, last_seq="5"), "4")
        store.save(NORTH, page_of(dead("mended"), last_seq="6"), "5")
        # It was deleted, and what came after that cannot be stored: it lives.
        store.save(NORTH, page_of({**dead("revived"), "_rev": "1-a"}, last_seq="7"), "6")
        store.save(NORTH, raw_page(rb'{"_id":"revived","_rev":"3-x","name":"\ud800Amina"}', last_seq="8"), "7")
        store.save(SOUTH, page_of(dead("live1"), dead("d0001"), last_seq="1"), None)
    return database


def whole(database):
    return database.rows("select count(*) from v1.couchdb where _deleted and doc ? 'name'")[0][0]


def everything(database):
    return [
        database.rows(f"select * from v1.{table} order by 1, 2, 3")
        for table in ("couchdb", "couchdb_collision", "couchdb_quarantine", "couchdb_quarantine_part")
    ]


def test_a_dry_run_counts_and_changes_nothing(kept):
    before, lines = everything(kept), []
    cut_tombstones(Settings(), True, lines.append)
    assert lines == [
        "Deleted documents that are more than a stub: 1,202 rows, 2 collisions, 3 entries of the quarantine.",
        "Nothing was changed.",
    ]
    assert everything(kept) == before


def test_all_bodies_are_cut_and_nothing_else_changes(kept, capsys):
    rows = "select _id, _deleted, source, saved_timestamp, doc from v1.couchdb where not _deleted order by 1"
    stamps = kept.rows("select _id, saved_timestamp from v1.couchdb order by 1")
    live = kept.rows(rows)
    assert main(["tombstones"]) == 0
    assert "Cut: 1,202 rows, 2 collisions, 3 entries of the quarantine." in capsys.readouterr().out
    assert kept.rows(rows) == live
    assert kept.rows("select _id, saved_timestamp from v1.couchdb order by 1") == stamps
    found = dict(kept.rows("select _id, doc from v1.couchdb where _deleted"))
    assert len(found) == 1203
    assert found.pop("last words") == {"_id": "last words", "_rev": "1-g", "_deleted": True}
    assert found.pop("revived") == {**stub("revived"), "_rev": "1-a"}
    assert found == {name: stub(name) for name in found}
    assert kept.rows("select doc from v1.couchdb_collision order by _id") == [(stub("d0001"),), (stub("live1"),)]
    left = dict(kept.rows("select _id, convert_from(body, 'UTF8') from v1.couchdb_quarantine"))
    assert json.loads(left.pop(r"odd\u0000id")) == stub("odd\0id")
    assert {name for name, body in left.items() if "Amina" in body} == {r"odd2\u0000id", "revived"}
    open_entries = kept.rows("select _id from v1.couchdb_quarantine where resolved_at is null")
    assert {name for (name,) in open_entries} == {r"odd2\u0000id", r"odd\u0000id", "revived"}

    lines = []
    cut_tombstones(Settings(), False, lines.append)
    assert lines[0].endswith(": 0 rows, 0 collisions, 0 entries of the quarantine.")


def test_it_goes_on_after_it_was_ended(kept):
    with TombstoneStore(postgres_connection(), RAW) as store:
        for done in store.cut():
            if done.documents >= 1000:
                break
    assert whole(kept) == 202
    cut_tombstones(Settings(), False, lambda _: None)
    assert whole(kept) == 0


def test_beside_a_running_sync_nothing_is_lost(kept, monkeypatch):
    """Documents live again, are edited and deleted again while bodies are cut; one step waits for a page, half done."""
    monkeypatch.setattr("cht_sync.store.tombstones.STEP", 20)
    failures, ready = [], threading.Event()

    def sync():
        try:
            with DocumentStore(postgres_connection(), RAW) as store:
                store.claim(NORTH)
                for n in range(60):
                    names = [f"d{m:04}" for m in range(n, 1200, 60)]
                    page = [{"_id": name, "_rev": "3-x", "n": n} if n % 3 else dead(name, _rev="4-x") for name in names]
                    store.save(NORTH, page_of(*reversed(page), last_seq=str(9 + n)), str(8 + n))
                    ready.set()
        except Exception as error:
            failures.append(error)

    thread = threading.Thread(target=sync)
    thread.start()
    assert ready.wait(60)
    cut_tombstones(Settings(), False, lambda _: None)
    thread.join(120)
    assert not failures
    cut_tombstones(Settings(), False, lambda _: None)
    for name, deleted, doc in kept.rows("select _id, _deleted, doc from v1.couchdb where _id like 'd%'"):
        n = int(name[1:]) % 60
        expected = {"_id": name, "_rev": "3-x", "n": n} if n % 3 else {"_id": name, "_rev": "4-x", "_deleted": True}
        assert (deleted, doc) == (not n % 3, expected)


def test_a_page_that_is_being_written_is_waited_for(kept):
    with psycopg2.connect(kept.dsn) as conn, conn.cursor() as cursor:
        Locks("v1").wait(cursor, "v1.couchdb order")
        thread = threading.Thread(target=cut_tombstones, args=(Settings(), False, lambda _: None))
        thread.start()
        thread.join(1)
        assert thread.is_alive()
        assert whole(kept) == 1202
    conn.close()
    thread.join(60)
    assert whole(kept) == 0


def told_of(kept, table, condition, then):
    """What cutting says beside a trigger; it comes to an end."""
    kept.rows(
        f"create or replace function mine() returns trigger language plpgsql as $$ begin"
        f" if {condition} then {then}; end if; return new; end $$"
    )
    kept.rows(f"create trigger mine before update on v1.{table} for each row execute function mine()")
    with TombstoneStore(postgres_connection(), RAW) as store, pytest.raises(StoreError) as told:
        list(itertools.islice(store.cut(), 50))
    kept.rows(f"drop trigger mine on v1.{table}")
    return str(told.value)


def test_a_trigger_that_drops_rows_is_named(kept):
    before = everything(kept)
    said = told_of(kept, "couchdb", "new._id = 'd0003'", "return null")
    assert said.startswith("Trigger mine on v1.couchdb kept 1 of 500 documents from being stored")
    assert everything(kept) == before
    cut_tombstones(Settings(), False, lambda _: None)
    assert whole(kept) == 0


def test_one_that_drops_collisions_too(kept):
    said = told_of(kept, "couchdb_collision", "new._id = 'live1'", "return null")
    assert said.startswith("Trigger mine on v1.couchdb_collision kept 1 of 2 documents from being stored")


@pytest.mark.parametrize("then", ["return null", "return old"])
@pytest.mark.parametrize("name", ["mended", r"odd\u0000id"])
def test_one_that_keeps_entries_of_the_quarantine_too(kept, name, then):
    said = told_of(kept, "couchdb_quarantine", f"new._id = '{name}'", then)
    assert said.startswith("Trigger mine on v1.couchdb_quarantine kept 1 of ")


@pytest.mark.parametrize(
    ("then", "cut", "again"),
    [('new.doc || \'{"region": "north"}\'', 1202, 0), ("old.doc", 0, 0)],
    ids=["adds to stubs", "puts bodies back"],
)
def test_one_that_rewrites_rows_is_let_be_and_told(kept, then, cut, again):
    kept.rows(
        f"create function mine() returns trigger language plpgsql as $$ begin new.doc = {then}; return new; end $$;"
        " create trigger mine before update on v1.couchdb for each row execute function mine()"
    )
    for number in (cut, again):
        lines = []
        cut_tombstones(Settings(), False, lines.append)
        assert lines[-1].startswith(f"Cut: {number:,} rows")
        assert lines[-2].startswith(f"{1202 - number:,} are as they were") == (number < 1202)
    assert whole(kept) == 1202 - cut


def test_check_tells_of_bodies_that_are_left(kept, monkeypatch):
    def told():
        lines = [str(each) for each in check_postgres(Settings())]
        assert any("every migration is applied" in line for line in lines)
        return [line for line in lines if "Deleted documents" in line]

    assert [line.split(":")[0] for line in told()] == ["warning  Deleted documents"]
    monkeypatch.setenv("CHT_TOMBSTONE_BODIES", "keep")
    assert told() == []
    monkeypatch.delenv("CHT_TOMBSTONE_BODIES")
    cut_tombstones(Settings(), False, lambda _: None)
    assert told() == []


def test_where_bodies_are_kept_nothing_is_cut(kept, monkeypatch):
    monkeypatch.setenv("CHT_TOMBSTONE_BODIES", "keep")
    with pytest.raises(SettingsError, match="CHT_TOMBSTONE_BODIES='keep'"):
        cut_tombstones(Settings(), False)
    assert whole(kept) == 1202


def test_tables_of_an_older_release_are_refused(kept):
    kept.rows("delete from v1.couchdb_migration where name like '%0016%'")
    with pytest.raises(SettingsError, match="0016_postponed_indexes.*run once before"):
        cut_tombstones(Settings(), True)


def test_a_tombstone_of_cht_sync_2_is_a_stub(database):
    with DocumentStore(postgres_connection(), RAW) as store:
        store.prepare()
    database.rows(
        "insert into v1.couchdb values (now(), 'a', true, 'north/medic',"
        ' \'{"_id": "a", "_rev": "2-x", "_deleted": true}\')'
    )
    lines = []
    cut_tombstones(Settings(), True, lines.append)
    assert lines[0].endswith(": 0 rows, 0 collisions, 0 entries of the quarantine.")
