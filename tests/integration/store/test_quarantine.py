"""What happens to documents that Postgres cannot hold."""

import hashlib
import io
import json

import pytest

from cht_sync.couchdb.decode import decode_page
from cht_sync.couchdb.structs import Change, Refused, Revision
from cht_sync.errors import StoreError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
SOURCE = "couch.example.org/medic"
GOOD = [f'{{"_id":"good{n}","_rev":"1-g"}}'.encode() for n in range(30)]
DEEP = b'{"_id":"x","deep":' + b"[" * 50_000 + b"]" * 50_000 + b"}"


def raw_page(*documents, last_seq="9-a", pending=0, deleted=()):
    """A page of bodies as bytes; each names its own ``_id``, ``x`` where it is too odd to be asked."""
    rows = []
    for body in documents:
        try:
            name = json.dumps(json.loads(body)["_id"]).encode()
        except (ValueError, RecursionError, TypeError, KeyError):
            name = b'"x"'
        flag = b',"deleted":true' if json.loads(name) in deleted else b""
        rows.append(b'{"seq":null,"id":' + name + b',"changes":[{"rev":"1-g"}]' + flag + b',"doc":' + body + b"}")
    tail = f'],"last_seq":"{last_seq}","pending":{pending}}}'.encode()
    return decode_page(b'{"results":[' + b",\r\n".join(rows) + tail)


def entries(database, columns="_id, _rev, sqlstate, reason, body, attempts, resolved_at"):
    return database.rows(f"select {columns} from v1.couchdb_quarantine order by _id")


def ids(database):
    return {name for (name,) in database.rows("select _id from v1.couchdb")}


ODD = {
    "lone surrogate in a value": (rb'{"_id":"x","a":"\ud800 tail"}', "22P02"),
    "second half alone": (rb'{"_id":"x","a":"\udc00"}', "22P02"),
    "lone surrogate in a key": (rb'{"_id":"x","\ud800":1}', "22P02"),
    "number beyond numeric": (rb'{"_id":"x","n":1e999999}', "22003"),
    "nesting 50,000 deep": (DEEP, "54001"),
    "bytes that are no UTF-8": (b'{"_id":"x","a":"\xff\xfe"}', "22021"),
    "surrogates as bytes": (b'{"_id":"x","a":"\xed\xa0\x80"}', "22021"),
    "invalid escape": (rb'{"_id":"x","a":"\q"}', "22P02"),
    "control character": (b'{"_id":"x","a":"\x01"}', "22P02"),
    "NUL as a byte": (b'{"_id":"x","a":"\x00"}', "22021"),
    "no number": (b'{"_id":"x","a":NaN}', "22P02"),
    "no object: a list": (b'["x"]', None),
    "no object: a text": (b'"x"', None),
    "no object: a number": (b"7", None),
    "keys that become one": (rb'{"_id":"x","a":1,"a\u0000":2}', None),
    "keys that become one, deep inside": (rb'{"_id":"x","l":[{"m":{"\u0000k":1,"k\u0000":2}}]}', None),
    "U+0000 nested too deeply": (rb'{"_id":"x","a":"\u0000","deep":' + b"[" * 9000 + b"]" * 9000 + b"}", None),
}


@pytest.mark.parametrize(("body", "sqlstate"), ODD.values(), ids=ODD)
def test_an_odd_document_goes_to_quarantine_and_the_rest_is_stored(store, database, body, sqlstate):
    written = store.save(SOURCE, raw_page(*GOOD[:17], body, *GOOD[17:]), None)
    assert (written.documents, written.rows, written.quarantined) == (31, 30, 1)
    assert ids(database) == {f"good{n}" for n in range(30)}
    assert store.checkpoint(SOURCE) == "9-a"
    ((name, rev, code, reason, kept, attempts, resolved),) = entries(database)
    assert (name, rev, attempts, resolved) == ("x", "1-g", 1, None)
    assert bytes(kept) == body
    assert reason
    if sqlstate:
        assert code == sqlstate
        assert written.reasons == {sqlstate: 1}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (rb'"a\u0000b"', "a\\u0000b"),
        (rb'"a\ud800b"', "a\\ud800b"),
        (rb'"\udfffx\u0000"', "\\udfffx\\u0000"),
        (b'"a\xff"', "a\\udcff"),
    ],
    ids=["U+0000", "lone surrogate", "both", "no UTF-8"],
)
def test_an_odd_id_goes_to_quarantine(store, database, name, shown):
    row = b'{"id":' + name + b',"changes":[{"rev":"3-x"}],"doc":{"_id":' + name + b',"v":1}}'
    good = b'{"id":"good","changes":[{"rev":"1-x"}],"doc":{"_id":"good"}}'
    body = b'{"results":[' + good + b",\n" + row + b'],"last_seq":"2","pending":0}'
    written = store.save(SOURCE, decode_page(body), None)
    assert (written.rows, written.quarantined) == (1, 1)
    assert ids(database) == {"good"}
    assert entries(database, "_id, _rev") == [(shown, "3-x")]
    # the same once more is the same entry
    store.save(SOURCE, decode_page(body.replace(b'"last_seq":"2"', b'"last_seq":"3"')), "2")
    assert entries(database, "attempts, seq") == [(2, "3")]


def test_an_id_that_no_index_holds(store, database):
    name = "".join(hashlib.sha256(str(n).encode()).hexdigest() for n in range(1600))
    assert len(name) > 100_000
    written = store.save(SOURCE, page_of({"_id": "a"}, {"_id": name, "v": 1}, {"_id": "b"}), None)
    assert (written.rows, written.quarantined, written.reasons) == (2, 1, {"54000": 1})
    assert entries(database, "_id = '" + name + "', body_bytes > 100000") == [(True, True)]


def test_ids_that_look_alike_when_shown_are_two_entries(store, database):
    rows = [rb'{"id":"a\u0000","doc":{"v":1}}', rb'{"id":"a\\u0000","doc":["no object"]}']
    store.save(SOURCE, decode_page(b'{"results":[' + b",".join(rows) + b'],"last_seq":"1","pending":0}'), None)
    assert entries(database, "_id") == [("a\\u0000",), ("a\\u0000",)]
    assert len({key for key, _, _ in store.quarantined(SOURCE, b"", 10, True)}) == 2


@pytest.mark.slow
def test_more_values_than_one_allocation_of_postgres_takes(store, database):
    body = b'{"_id":"x","a":[' + b"0," * 16_900_000 + b"0]}"
    written = store.save(SOURCE, raw_page(*GOOD, body), None)
    assert (written.rows, written.quarantined, written.reasons) == (30, 1, {"XX000": 1})


def test_a_page_of_nothing_but_odd_documents(store, database):
    bodies = [b'{"_id":"odd%d","n":1e999999}' % n for n in range(60)]
    written = store.save(SOURCE, raw_page(*bodies), None)
    assert (written.documents, written.rows, written.quarantined) == (60, 0, 60)
    assert database.value("select count(*) from v1.couchdb_quarantine") == 60
    assert store.checkpoint(SOURCE) == "9-a"


def test_duplicate_keys_count_as_couchdb_and_javascript_count_them(store, database):
    store.save(SOURCE, raw_page(b'{"_id":"x","a":1,"b":2,"a":{"a":3,"a":4}}'), None)
    assert database.value("select doc from v1.couchdb") == {"_id": "x", "a": {"a": 4}, "b": 2}


def test_nesting_that_only_postgres_can_read_is_stored(store, database):
    body = b'{"_id":"x","deep":' + b"[" * 3000 + b"]" * 3000 + b"}"
    written = store.save(SOURCE, raw_page(*GOOD, body), None)
    assert (written.rows, written.quarantined) == (31, 0)
    assert database.value("select length(doc->>'deep') from v1.couchdb where _id = 'x'") == 6000


def test_a_later_revision_resolves_the_entry(store, database):
    store.save(SOURCE, raw_page(rb'{"_id":"x","a":"\ud800"}', last_seq="1"), None)
    store.save(SOURCE, raw_page(rb'{"_id":"x","a":"\udfff"}', last_seq="2"), "1")
    assert entries(database, "attempts, resolved_at, last_seen > first_seen") == [(2, None, True)]
    written = store.save(SOURCE, page_of({"_id": "x", "a": "mended"}, last_seq="3"), "2")
    assert (written.rows, written.resolved) == (1, 1)
    assert entries(database, "resolved_at is not null") == [(True,)]
    written = store.save(SOURCE, raw_page(rb'{"_id":"x","a":"\udfff"}', last_seq="4"), "3")
    assert entries(database, "attempts, resolved_at") == [(3, None)]
    # the last state that could be stored stays where it is
    assert database.value("select doc->>'a' from v1.couchdb") == "mended"


def test_only_the_entry_of_the_same_source_is_resolved(store, database):
    for source in (SOURCE, "other/medic"):
        store.save(source, raw_page(rb'{"_id":"x","a":"\ud800"}', last_seq="1"), None)
    store.save(SOURCE, page_of({"_id": "x"}, last_seq="2"), "1")
    assert database.rows("select source from v1.couchdb_quarantine where resolved_at is null") == [("other/medic",)]


@pytest.fixture
def keeping(database):
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb", tombstone_bodies=True)) as store:
        store.prepare()
        yield store


def test_a_delete_takes_effect_although_its_last_words_cannot_be_stored(keeping, database):
    store = keeping
    store.save(SOURCE, page_of({"_id": "x", "name": "Amina"}, last_seq="1"), None)
    body = rb'{"_id":"x","_rev":"2-g","_deleted":true,"why":"\ud800"}'
    written = store.save(SOURCE, raw_page(body, last_seq="2", deleted={"x"}), "1")
    assert (written.rows, written.quarantined) == (1, 1)
    assert database.rows("select _deleted, doc from v1.couchdb") == [
        (True, {"_id": "x", "_rev": "1-g", "_deleted": True})
    ]
    assert entries(database, "convert_from(body, 'UTF8'), resolved_at") == [(body.decode(), None)]


def test_last_words_that_cannot_be_stored_are_not_kept(store, database):
    store.save(SOURCE, raw_page(rb'{"_id":"x","_rev":"1-g","name":"\ud800Amina"}', last_seq="1"), None)
    body = rb'{"_id":"x","_rev":"2-g","_deleted":true,"name":"\ud800Amina"}'
    written = store.save(SOURCE, raw_page(body, last_seq="2", deleted={"x"}), "1")
    assert (written.rows, written.quarantined, written.resolved, written.documents) == (1, 0, 1, 1)
    assert database.rows("select _deleted, doc from v1.couchdb") == [
        (True, {"_id": "x", "_rev": "1-g", "_deleted": True})
    ]
    assert entries(database, "body, body_bytes, resolved_at is null") == [(b"", 0, False)]


def test_a_document_that_left_the_quarantine_leaves_no_bytes_there_once_it_is_deleted(store, database):
    large = Refused(Change("x", [Revision("1-g")]), "too large", body=io.BytesIO(b"Amina" * 4 * 1024 * 1024))
    page = page_of({"_id": "a"})
    page.refused = [large]
    store.save(SOURCE, page, None)
    store.save(SOURCE, page_of({"_id": "x", "_rev": "2-g"}, last_seq="2"), "1-a")
    assert entries(database, "body_bytes > 0, resolved_at is null") == [(True, False)]
    assert database.value("select count(*) from v1.couchdb_quarantine_part") > 0
    store.save(SOURCE, page_of({"_id": "x", "_rev": "3-g", "_deleted": True}, last_seq="3"), "2")
    assert entries(database, "body, body_bytes") == [(b"", 0)]
    assert database.value("select count(*) from v1.couchdb_quarantine_part") == 0


def test_a_deleted_document_that_is_held_or_has_an_odd_id_leaves_a_stub(store, database):
    page = page_of({"_id": "z\0", "_rev": "1-a", "_deleted": True, "name": "Amina"})
    page.refused = [
        Refused(Change("x", [Revision("1-g")], deleted=True), "too large", body=io.BytesIO(b"Amina" * 1000))
    ]
    written = store.save(SOURCE, page, None)
    assert (written.documents, written.rows, written.quarantined) == (2, 1, 1)
    assert database.rows("select _id, _deleted, doc from v1.couchdb") == [
        ("x", True, {"_id": "x", "_rev": "1-g", "_deleted": True})
    ]
    ((body,),) = entries(database, "convert_from(body, 'UTF8')")
    assert json.loads(body) == {"_id": "z\0", "_rev": "1-a", "_deleted": True}


def test_a_document_that_comes_twice_in_a_page_counts_once(store, database):
    bad, good = rb'{"_id":"x","a":"\ud800"}', rb'{"_id":"x","a":"good"}'
    store.save(SOURCE, raw_page(bad, good, last_seq="1"), None)
    assert (entries(database), ids(database)) == ([], {"x"})
    store.save(SOURCE, raw_page(good, bad, last_seq="2"), "1")
    assert len(entries(database)) == 1


def test_a_large_body_is_kept_in_parts(store, database):
    body = bytes(range(256)) * 4096 * 20  # 20 MB
    held = Refused(Change("x", [Revision("1-g")]), "too large", body=io.BytesIO(body))
    page = page_of({"_id": "a"})
    page.refused = [held]
    assert store.save(SOURCE, page, None).quarantined == 1
    first, size = database.rows("select body, body_bytes from v1.couchdb_quarantine")[0]
    rest = database.rows("select body from v1.couchdb_quarantine_part order by part")
    assert size == len(body)
    assert b"".join([bytes(first), *(bytes(part) for (part,) in rest)]) == body
    # an answer without any bytes does not take those away; a new revision does
    store.save_documents(SOURCE, [], [Refused(Change("x", [Revision("1-g")]), "server down")], store.state(SOURCE))
    assert database.rows("select body_bytes, reason from v1.couchdb_quarantine") == [(len(body), "server down")]
    assert database.value("select count(*) from v1.couchdb_quarantine_part") == 2
    store.save_documents(SOURCE, [], [Refused(Change("x", [Revision("2-g")]), "server down")], store.state(SOURCE))
    assert database.rows("select body_bytes, _rev from v1.couchdb_quarantine") == [(0, "2-g")]
    assert database.value("select count(*) from v1.couchdb_quarantine_part") == 0


def test_password_material_stays_out_of_quarantine(store, database):
    rows = [
        b'{"id":"org.couchdb.user:ann","doc":{"_id":"org.couchdb.user:ann","type":"user","derived_key":"k3y","n":1e999999}}',
        rb'{"id":"org.couchdb.user:bob","doc":{"_id":"org.couchdb.user:bob","derived_key":"k3y","a":"\ud800"}}',
    ]
    store.save(SOURCE, decode_page(b'{"results":[' + b",".join(rows) + b'],"last_seq":"1","pending":0}'), None)
    assert "k3y" not in str(entries(database))
    assert entries(database, "convert_from(body, 'UTF8')")[0] == (
        '{"_id":"org.couchdb.user:ann","type":"user","n":1e999999}',
    )
    ((reason,),) = entries(database, "reason")[1:]
    assert "password material cannot be told apart" in reason


def test_a_constraint_of_somebody_refuses_some_documents(store, database):
    database.rows("alter table v1.couchdb add constraint theirs check (doc->>'name' is distinct from 'no')")
    written = store.save(SOURCE, page_of({"_id": "a"}, {"_id": "b", "name": "no"}, {"_id": "c"}), None)
    assert (written.rows, written.reasons) == (2, {"23514": 1})


def test_a_constraint_that_refuses_everything_is_not_the_documents_fault(store, database):
    database.rows("alter table v1.couchdb add column theirs integer not null")
    with pytest.raises(
        StoreError, match="SQLSTATE 23502 .*take away the constraint or trigger that is not of this project"
    ):
        store.save(SOURCE, page_of(*({"_id": f"d{n}"} for n in range(40))), None)
    assert store.checkpoint(SOURCE) is None
    assert entries(database) == []


def test_stamps_stay_in_order_where_a_page_is_split(store, database):
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as other:
        other.save("other/medic", page_of({"_id": "before"}), None)
        store.save(SOURCE, raw_page(*GOOD[:9], ODD["no number"][0], *GOOD[9:]), None)
        other.save("other/medic", page_of({"_id": "after"}, last_seq="2"), "1-a")
    stamps = dict(database.rows("select _id, saved_timestamp from v1.couchdb"))
    middle = [stamp for name, stamp in stamps.items() if name.startswith("good")]
    assert stamps["before"] < min(middle) <= max(middle) < stamps["after"]
