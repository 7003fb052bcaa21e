"""Triggers of somebody else on the table of documents that drop rows without a word."""

from __future__ import annotations

import pytest

from cht_sync.errors import StoreError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.first_load_plan import LoadPart, LoadPlan
from cht_sync.store.first_load_store import FirstLoadStore
from cht_sync.sync.sweep import sweep
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
SOURCE = "north/medic"
SWALLOWED = 'Trigger "Mine" on v1.couchdb kept 1 of {} documents from being stored.*page is rolled back'


@pytest.fixture
def store(database):
    with FirstLoadStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        store.claim(SOURCE)
        yield store


def trigger(database, when="insert or update", condition="new._id = 'b'", kind="before", then="return null"):
    database.rows(
        f"create or replace function mine() returns trigger language plpgsql as $$ begin"
        f" if {condition} then {then}; end if; return new; end $$"
    )
    database.rows(f'create trigger "Mine" {kind} {when} on v1.couchdb for each row execute function mine()')


def doc(name, rev="1-a", **fields):
    return {"_id": name, "_rev": rev, **fields}


def stored(database):
    return dict(database.rows("select _id, doc->>'_rev' from v1.couchdb where not _deleted"))


def refused(number):
    return pytest.raises(StoreError, match=SWALLOWED.format(number))


def test_a_new_document(store, database):
    trigger(database)
    with refused(2):
        store.save(SOURCE, page_of(doc("a"), doc("b")), None)
    assert (stored(database), store.checkpoint(SOURCE)) == ({}, None)


@pytest.mark.parametrize("new", [doc("b", "2-b"), doc("b", "2-b", _deleted=True)])
def test_an_edit_and_a_delete(store, database, new):
    store.save(SOURCE, page_of(doc("a"), doc("b"), last_seq="1"), None)
    trigger(database, when="update")
    with refused(2):
        store.save(SOURCE, page_of(doc("a"), new, last_seq="2"), "1")
    assert (stored(database), store.checkpoint(SOURCE)) == ({"a": "1-a", "b": "1-a"}, "1")
    database.rows('alter table v1.couchdb disable trigger "Mine"')
    assert store.save(SOURCE, page_of(doc("a"), new, last_seq="2"), "1").rows == 1


def test_a_document_that_is_fetched_by_id(store, database):
    trigger(database)
    changes = page_of(doc("b")).results
    with refused(1):
        store.save_documents(SOURCE, changes, [], store.state(SOURCE))


@pytest.mark.parametrize("sure", [False, True])
def test_a_damaged_row_of_the_same_revision(store, database, sure):
    store.save(SOURCE, page_of(doc("a"), doc("b"), last_seq="1"), None)
    database.rows("""update v1.couchdb set doc = doc || '{"damaged": true}' where _id = 'b'""")
    trigger(database, when="update")
    changes = page_of(doc("a"), doc("b")).results
    with refused(2):
        store.save_documents(SOURCE, changes, [], store.state(SOURCE), sure=sure)
    database.rows('alter table v1.couchdb disable trigger "Mine"')
    assert store.save_documents(SOURCE, changes, [], store.state(SOURCE), sure=sure).rows == 1


def test_a_row_that_goes_back_to_an_older_revision(store, database):
    store.save(SOURCE, page_of(doc("a"), doc("b", "2-b"), last_seq="1"), None)
    trigger(database, when="update")
    changes = page_of(doc("b")).results
    with refused(1):
        store.save_documents(SOURCE, changes, [], store.state(SOURCE), sure=True)
    assert store.save_documents(SOURCE, changes, [], store.state(SOURCE)).older == 1  # it stays for another reason


@pytest.mark.parametrize("when", ["insert or update", "insert", "update"])
def test_one_that_rewrites_documents_is_let_be(store, database, when):
    trigger(database, when, condition="true", then="""new.doc = new.doc - 'phone' || '{"region": "north"}'""")
    page = [doc("a", phone="+254"), doc("b", phone="+254")]
    store.save(SOURCE, page_of(doc("c"), *page, last_seq="1"), None)
    for again in (page, [doc("c"), *page], [page[0], doc("b", "2-b", phone="+254")]):
        store.save_documents(SOURCE, page_of(*again).results, [], store.state(SOURCE))
    assert stored(database) == {"a": "1-a", "b": "2-b", "c": "1-a"}


def test_one_that_refuses_updates_aloud_is_no_such(store, database):
    """A second one makes of the documents what is stored, so that there was nothing to update."""
    store.save(SOURCE, page_of(doc("a"), doc("b"), last_seq="1"), None)
    trigger(database, "insert", condition="true", then="new.doc = new.doc - 'phone'")
    database.rows(
        "create function aloud() returns trigger language plpgsql as $$ begin raise 'no updates'; end $$;"
        " create trigger aloud before update on v1.couchdb for each row execute function aloud()"
    )
    changes = page_of(doc("a", phone="+254"), doc("b")).results
    assert store.save_documents(SOURCE, changes, [], store.state(SOURCE)).quarantined == 0


def test_a_first_load(store, database):
    trigger(database)
    plan = LoadPlan([LoadPart("range 001")], "5", None)
    store.begin_load(SOURCE, plan)
    before, after = plan.parts[0], LoadPart("range 001", position="b", documents=2)
    with refused(2):
        store.save_part(SOURCE, page_of(doc("a"), doc("b")), before, after, store.state(SOURCE))
    assert stored(database) == {}


def test_a_sweep(store, database):
    store.save(SOURCE, page_of(doc("a"), doc("b"), last_seq="1"), None)
    trigger(database, when="update")
    store.restart(SOURCE, None)
    with refused(2):
        list(sweep(store, SOURCE, lambda names: names, 60))
    assert stored(database) == {"a": "1-a", "b": "1-a"}


def test_a_new_stamp(store, database):
    store.save(SOURCE, page_of(doc("a"), doc("b"), last_seq="1"), None)
    trigger(database, when="update")
    with refused(3):
        store.restamp(SOURCE, ["a", "b", "unknown"])


def test_a_row_that_would_change_its_owner(store, database):
    store.save(SOURCE, page_of(doc("b", _deleted=True)), None)
    trigger(database, when="update")
    store.claim("south/medic")
    with refused(1):
        store.save("south/medic", page_of(doc("b", "1-s")), None)


@pytest.mark.parametrize(
    ("kind", "then"), [("before", "new.source = new.source"), ("after", "return null")], ids=["changes", "after"]
)
def test_one_that_drops_nothing_is_let_be(store, database, kind, then):
    trigger(database, kind=kind, then=then)
    store.save(SOURCE, page_of(doc("a"), doc("b"), last_seq="1"), None)
    assert store.save(SOURCE, page_of(doc("a"), doc("b", "2-b"), last_seq="2"), "1").rows == 1
    store.claim("south/medic")
    assert store.save("south/medic", page_of(doc("a", "3-s"), doc("c")), None).collisions == 1


def test_several_are_named(store, database):
    trigger(database)
    database.rows("create trigger other before insert on v1.couchdb for each row execute function mine()")
    with pytest.raises(StoreError, match='One of the triggers "Mine", other on v1.couchdb kept 1 of 1 documents'):
        store.save(SOURCE, page_of(doc("b")), None)
