"""An oracle that cannot fail is worth nothing: each kind of difference is made here, and it must be named."""

from __future__ import annotations

import hashlib
import json
from contextlib import closing
from types import SimpleNamespace

import psycopg2
import pytest
import requests

from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from tests.oracle import oracle
from tests.oracle.json_values import DEEP, flatten, parse
from tests.oracle.oracle import CouchDB, Postgres, State, compare, compare_states, key_of
from tests.servers import EVERYWHERE, mine

pytestmark = pytest.mark.integration
NAME = mine("oracle")
SOURCE = f"127.0.0.1/{NAME}"
TABLES = """
create schema if not exists v1;
create table if not exists v1.couchdb
    (saved_timestamp timestamp, _id varchar primary key, _deleted boolean, source varchar, doc jsonb);
create table if not exists v1.couchdb_quarantine
    (source varchar, key bytea, _id varchar, _rev varchar, seq varchar, body bytea, body_bytes bigint,
     sqlstate varchar, reason varchar, first_seen timestamptz, last_seen timestamptz, attempts int,
     resolved_at timestamptz, primary key (source, key));
create table if not exists v1.couchdb_quarantine_part
    (source varchar, key bytea, part int, body bytea, primary key (source, key, part));
create table if not exists v1.couchdb_collision
    (_id varchar, source varchar, _deleted boolean, doc jsonb, saved_timestamp timestamp, primary key (_id, source));
"""


class Model:
    """States that a test makes up."""

    def __init__(self, *states):
        self.ids = {state.id for state in states}
        self._states = list(states)

    def batches(self):
        yield self._states


def state(id, fields="", rev="2-b", *, deleted=False, raw=None):
    flag = ',"_deleted":true' if deleted else ""
    text = f'{{"_id":{json.dumps(id)},"_rev":"{rev}"{flag}{fields}}}'
    return State.of_bytes(id, rev, deleted, text.encode() if raw is None else raw)


class Stored:
    """The stored side, in a transaction that is never committed."""

    def __init__(self, connection):
        self.connection = connection
        self.run(TABLES)

    def run(self, query, *values):
        with self.connection.cursor() as cursor:
            cursor.execute(query, values or None)

    def row(self, id, fields="", rev="2-b", *, deleted=False, source=SOURCE):
        doc = state(id, fields, rev, deleted=deleted).raw.decode()
        self.run("insert into v1.couchdb values (now(), %s, %s, %s, %s)", id, deleted, source, doc)

    def collision(self, id, fields="", rev="2-b", *, deleted=False, source=SOURCE):
        doc = state(id, fields, rev, deleted=deleted).raw.decode()
        self.run("insert into v1.couchdb_collision values (%s, %s, %s, %s, now())", id, source, deleted, doc)

    def entry(self, id, body, rev="2-b", *, shown=None, size=None, reason="said so", resolved=None):
        values = (SOURCE, key_of(id), shown or id, rev, body, len(body) if size is None else size, reason, resolved)
        self.run(
            "insert into v1.couchdb_quarantine (source, key, _id, _rev, body, body_bytes, reason, resolved_at,"
            " attempts, first_seen, last_seen) values (%s, %s, %s, %s, %s, %s, %s, %s, 1, now(), now())",
            *values,
        )

    def differences(self, *states, order=(), keep=False):
        stored = Postgres(self.connection, SOURCE, order=order)
        return compare_states(Model(*states), stored, tombstone_bodies=keep).differences


@pytest.fixture(scope="module")
def empty_database(postgres_server):
    postgres_server.create_database(NAME)
    with closing(psycopg2.connect(postgres_server.dsn(NAME))) as connection:
        yield connection


@pytest.fixture
def stored(empty_database):
    yield Stored(empty_database)
    empty_database.rollback()


def only(differences, said):
    assert len(differences) == 1, differences
    assert said in differences[0]


# --- contents ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("in_couchdb", "in_postgres"),
    [
        (',"n":1', ',"n":1.0'),
        (',"n":1e2', ',"n":100'),
        (',"n":-0.0', ',"n":0'),
        (',"n":12345678901234567890123456789', ',"n":12345678901234567890123456789'),
        (',"a":1,"b":[{}]', ',"b":[{}],"a":1'),
        (r',"x":"a\u0000b","k\u0000":1', ',"x":"ab","k":1'),
        (r',"x":"\\u0000"', r',"x":"\\u0000"'),
        (r',"x":"\ud83d\ude00"', ',"x":"😀"'),
        (',"d":1,"d":2', ',"d":2'),
        (',"deep":' + "[" * 2000 + "]" * 2000, ',"deep":' + "[" * 2000 + "]" * 2000),
    ],
)
def test_what_is_equal(stored, in_couchdb, in_postgres):
    stored.row("a", in_postgres)
    assert stored.differences(state("a", in_couchdb)) == []


@pytest.mark.parametrize(
    ("in_couchdb", "in_postgres"),
    [
        (',"n":1', ',"n":true'),
        (',"n":1', ',"n":"1"'),
        (',"n":0', ',"n":false'),
        (',"n":null', ""),
        (',"n":[]', ',"n":{}'),
        (',"n":[1,2]', ',"n":[2,1]'),
        (',"n":[[1],2]', ',"n":[[1,2]]'),
        (',"n":0.1', ',"n":0.10000000000000001'),
        (',"n":9007199254740993', ',"n":9007199254740992'),
        (',"x":"a"', ',"x":"a "'),
        (',"x":"\u00e9"', ',"x":"e\u0301"'),
        (r',"x":"\\u0000"', r',"x":"\\"'),
        (',"x":{"y":1}', ',"x":{"z":1}'),
        (',"deep":' + "[" * 2000 + "1" + "]" * 2000, ',"deep":' + "[" * 2000 + "2" + "]" * 2000),
    ],
)
def test_what_differs(stored, in_couchdb, in_postgres):
    stored.row("a", in_postgres)
    only(stored.differences(state("a", in_couchdb)), "has other content")


def test_what_is_said_of_a_difference(stored):
    stored.row("a", ',"n":{"x":"y"}')
    only(stored.differences(state("a", ',"n":{"x":"z"}')), "after key 'x': CouchDB 'z'")


# --- rows --------------------------------------------------------------------------------------


def test_a_document_is_missing(stored):
    stored.row("a")
    only(stored.differences(state("a"), state("b")), "'b' 2-b: is not stored; not in the quarantine either")


def test_tables_that_are_not_there_are_empty(empty_database):
    found = compare_states(Model(state("a")), Postgres(empty_database, SOURCE, "nowhere")).differences
    only(found, "is not stored")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("""doc = jsonb_set(doc, '{_rev}', '"1-a"')""", "has revision 1-a"),
        ("_deleted = true", "has _deleted True"),
        ("_deleted = null", "has _deleted None"),
        ("doc = null", "has no doc"),
        ("doc = '[]'", "has revision None"),
        ("saved_timestamp = null", "has no saved_timestamp"),
        ("source = 'other'", "is not stored"),
        ("""doc = doc || '{"more": 1}'""", "has other content"),
    ],
)
def test_a_row_is_wrong(stored, change, said):
    stored.row("a")
    stored.run(f"update v1.couchdb set {change}")
    only(stored.differences(state("a")), said)


def test_a_row_that_couchdb_does_not_know(stored):
    stored.row("a")
    stored.row("id")
    stored.row("of another", source="other")
    only(stored.differences(state("a")), "'id': is in couchdb, but CouchDB does not know it")


def test_a_tombstone(stored):
    stored.row("a", ',"why":"x"', deleted=True)
    assert stored.differences(state("a", ',"why":"x"', deleted=True), keep=True) == []
    only(stored.differences(state("a", ',"why":"y"', deleted=True), keep=True), "has other content")
    only(stored.differences(state("a", ',"why":"x"')), "has _deleted True")


def test_a_stub(stored):
    stored.row("a", deleted=True)
    dead = state("a", ',"why":"x"', deleted=True)
    assert stored.differences(dead) == []
    only(stored.differences(dead, keep=True), "has other content")
    only(stored.differences(state("a", rev="3-c", deleted=True)), "has revision 2-b")
    stored.run("""update v1.couchdb set doc = doc || '{"why": "x"}'""")
    only(stored.differences(dead), "has other content")


def test_a_tombstone_whose_id_cannot_be_stored_leaves_its_stub_in_the_quarantine(stored):
    dead = state("a\0", ',"why":"x"', deleted=True)
    stored.entry("a\0", dead.raw, shown=r"a\u0000")
    only(stored.differences(dead), "is in the quarantine with other content")
    assert stored.differences(dead, keep=True) == []
    stored.run("delete from v1.couchdb_quarantine")
    stored.entry("a\0", state("a\0", deleted=True).raw, shown=r"a\u0000")
    assert stored.differences(dead) == []


# --- ids of several sources --------------------------------------------------------------------


def test_another_source_owns_the_id(stored):
    stored.row("a", ',"n":1', source="other")
    stored.collision("a", ',"n":2')
    assert stored.differences(state("a", ',"n":2')) == []
    only(stored.differences(state("a", ',"n":1')), "in couchdb_collision")


def test_a_document_lives_twice(stored):
    stored.row("a")
    stored.collision("a")
    only(stored.differences(state("a")), "is stored twice")


def test_nobody_owns_the_id(stored):
    stored.collision("a")
    only(stored.differences(state("a")), "nobody owns the _id")


def test_a_tombstone_hides_a_live_document(stored):
    stored.row("a", source="other", deleted=True)
    stored.collision("a")
    only(stored.differences(state("a")), "is live in couchdb_collision beside a tombstone of other")


def test_a_source_that_comes_first_owns_the_id(stored):
    stored.row("a", source="other")
    stored.collision("a")
    only(stored.differences(state("a"), order=[SOURCE, "other"]), "is in couchdb_collision, but comes before other")
    only(stored.differences(state("a"), order=[SOURCE]), "is in couchdb_collision, but comes before other")
    assert stored.differences(state("a"), order=["other", SOURCE]) == []
    stored.row("b", source="other")
    stored.collision("b", deleted=True)
    assert stored.differences(state("a"), state("b", deleted=True), order=["other", SOURCE]) == []


def test_a_collision_that_couchdb_does_not_know(stored):
    stored.row("a", source="other")
    stored.collision("a")
    only(stored.differences(), "'a': is in couchdb_collision, but CouchDB does not know it")


# --- quarantine --------------------------------------------------------------------------------

LONE = state("a", r',"x":"\ud800"')


def test_what_cannot_be_stored_is_in_quarantine(stored):
    only(stored.differences(LONE), "is not stored; not in the quarantine either (a lone surrogate)")
    stored.entry("a", LONE.raw)
    assert stored.differences(LONE) == []


@pytest.mark.parametrize(
    "odd",
    [
        state("i\0d"),
        state("\ud800"),
        state("a", r',"k":1,"k\u0000":2'),
        state("a", ',"n":1e131072'),
        state("a", ',"n":1e-16384'),
        state("a", ',"n":1e99999999999999999999'),
        state("a", raw=b"[1]"),
        state("a", raw=b'{"_id":"a","_rev":"2-b","x":"\xe9"}'),
    ],
    ids=lambda each: each.raw[:60].decode(errors="replace"),
)
def test_kinds_that_cannot_be_stored(stored, odd):
    only(stored.differences(odd), "is not stored; not in the quarantine either (")
    stored.entry(odd.id, odd.raw, shown=json.dumps(odd.id)[1:-1])
    assert stored.differences(odd) == []
    stored.run("update v1.couchdb_quarantine set resolved_at = now()")
    only(stored.differences(odd), "not in the quarantine either")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("_rev = '1-a'", "with revision 1-a"),
        ("_id = 'b'", "is in the quarantine as 'b'"),
        ("reason = ' '", "without a reason"),
        ("body = null", "with 0 bytes"),
        ("body_bytes = body_bytes + 1", "bytes of"),
        ("body = substr(body, 2), body_bytes = body_bytes - 1", "with other bytes"),
        ("body = convert_to(replace(convert_from(body, 'UTF8'), 'ud800', 'ud801'), 'UTF8')", "with other content"),
    ],
)
def test_an_entry_is_wrong(stored, change, said):
    stored.entry("a", LONE.raw)
    stored.run(f"update v1.couchdb_quarantine set {change}")
    only(stored.differences(LONE), said)


def test_a_body_in_parts(stored):
    stored.entry("a", LONE.raw[:10], size=len(LONE.raw))
    only(stored.differences(LONE), f"10 bytes of {len(LONE.raw)}")
    for number, part in enumerate((LONE.raw[10:15], LONE.raw[15:]), start=2):
        stored.run("insert into v1.couchdb_quarantine_part values (%s, %s, %s, %s)", SOURCE, key_of("a"), number, part)
    assert stored.differences(LONE) == []


def test_an_entry_of_a_document_that_is_stored(stored):
    stored.row("a")
    stored.entry("a", state("a").raw)
    only(stored.differences(state("a")), "is stored, but open in the quarantine")
    stored.run("update v1.couchdb_quarantine set resolved_at = now()")
    assert stored.differences(state("a")) == []


def test_an_entry_of_a_document_that_could_be_stored(stored):
    stored.entry("a", state("a").raw)
    only(stored.differences(state("a")), "but can be stored")


def test_an_entry_that_couchdb_does_not_know(stored):
    stored.entry("a", b"{}")
    only(stored.differences(), "'a': is open in the quarantine, but CouchDB does not know it")


def test_the_row_of_an_older_revision_may_stay_beside_an_entry(stored):
    stored.row("a", rev="1-a")
    stored.entry("a", LONE.raw)
    assert stored.differences(LONE) == []
    stored.run("""update v1.couchdb set doc = jsonb_set(doc, '{_rev}', '"2-b"')""")
    only(stored.differences(LONE), "stored otherwise at that revision")


def test_a_tombstone_that_cannot_be_stored_leaves_a_stub(stored):
    dead = state("a", r',"x":"\ud800"', deleted=True)
    stored.entry("a", dead.raw)
    only(stored.differences(dead, keep=True), "has no stub: is not stored")
    stored.row("a", deleted=True)
    assert stored.differences(dead, keep=True) == []
    only(stored.differences(dead), "is stored, but open in the quarantine")
    stored.run("""update v1.couchdb set doc = doc || '{"x": 1}'""")
    only(stored.differences(dead, keep=True), "has no stub: has other content")


# --- users -------------------------------------------------------------------------------------

USER = "org.couchdb.user:a"


@pytest.mark.parametrize(
    "name", ["password", "passwords", "password_scheme", "derived_key", "salt", "iterations", "pbkdf2_prf"]
)
def test_password_material_is_a_difference(stored, name):
    stored.row(USER, f',"type":"user","{name}":1,"n":1')
    only(stored.differences(state(USER, f',"type":"user","{name}":1,"n":1')), "has other content")
    stored.run("update v1.couchdb set doc = doc - %s", name)
    assert stored.differences(state(USER, f',"type":"user","{name}":1,"n":1')) == []
    hidden = name.replace("s", r"s\u0000", 1)
    assert stored.differences(state(USER, f',"type":"us\\u0000er","{hidden}":1,"n":1')) == []


def test_other_types_and_other_ids_keep_every_field(stored):
    for id, fields in ((USER, ',"type":"user-settings","salt":1'), ("a", ',"type":"user","salt":1')):
        stored.row(id, fields)
        assert [each for each in stored.differences(state(id, fields)) if "does not know" not in each] == []
        stored.run("update v1.couchdb set doc = doc - 'salt'")
        assert "has other content" in stored.differences(state(id, fields))[0]


def test_password_material_in_quarantine_is_a_difference(stored):
    user = state(USER, r',"type":"user","salt":"s","x":"\ud800"')
    stored.entry(USER, user.raw)
    only(stored.differences(user), "password material")
    stripped = user.raw.replace(b',"salt":"s"', b"")
    stored.run("update v1.couchdb_quarantine set body = %s, body_bytes = %s", stripped, len(stripped))
    assert stored.differences(user) == []
    stored.run("update v1.couchdb_quarantine set body = '', body_bytes = 0")
    assert stored.differences(user) == []


def test_what_is_wrong_with_password_material_alone_hinders_nothing(stored):
    user = state(USER, raw=b'{"_id":"org.couchdb.user:a","_rev":"2-b","type":"user","salt":"\xe9","n":1}')
    stored.row(USER, ',"type":"user","n":1')
    assert stored.differences(user) == []
    stored.run("delete from v1.couchdb")
    stored.entry(USER, b"")
    assert stored.differences(user) == []


# --- the side of CouchDB -----------------------------------------------------------------------


@pytest.fixture
def couch(couchdb_server, database, monkeypatch):
    for name, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(couchdb_server.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
    }.items():
        monkeypatch.setenv(name, value)
    session = requests.Session()
    session.auth = couchdb_server.auth
    url = f"{couchdb_server.url}/{NAME}"
    session.put(url).raise_for_status()

    def write(*documents):
        answer = session.post(f"{url}/_bulk_docs", json={"docs": documents}, params=EVERYWHERE).json()
        return {each["id"]: each["rev"] for each in answer}

    def verdict():
        return compare(couchdb_server.url, couchdb_server.auth, NAME, SOURCE, database.dsn)

    yield SimpleNamespace(write=write, verdict=verdict, server=couchdb_server)
    session.delete(url)


def copy():
    CouchDBToPostgresOperator(task_id="sync", database=NAME).execute({})


def test_a_copy_of_a_server_and_what_happens_to_it_afterwards(couch, database, monkeypatch):
    monkeypatch.setattr(oracle, "BATCH", 7)
    revisions = couch.write(*({"_id": f"d{n}", "n": n / 7} for n in range(40)), {"_id": "😀", "x": "y\0"})
    couch.write(*({"_id": f"d{n}", "_rev": revisions[f"d{n}"], "_deleted": True, "why": n} for n in range(10)))
    assert len(couch.verdict().differences) == 41
    copy()
    verdict = couch.verdict()
    assert (verdict.documents, verdict.differences) == (41, [])
    database.rows("update v1.couchdb set doc = doc || '{\"why\": 3}' where _id = 'd3'")
    database.rows("update v1.couchdb set doc = jsonb_set(doc, '{n}', '0') where _id = 'd20'")
    database.rows("delete from v1.couchdb where _id = '😀'")
    found = couch.verdict().differences
    assert sorted(each.split(":")[0].split()[0] for each in found) == ["'\\U0001f600'", "'d20'", "'d3'"]
    copy()
    assert len(couch.verdict().differences) == 3, "the sync cannot know of it"


def test_what_the_sync_has_not_seen_yet(couch):
    revisions = couch.write({"_id": "a"}, {"_id": "b"})
    copy()
    assert couch.verdict().differences == []
    couch.write({"_id": "a", "_rev": revisions["a"], "n": 1}, {"_id": "b", "_rev": revisions["b"], "_deleted": True})
    first, second = sorted(couch.verdict().differences)
    assert f"has revision {revisions['a']}" in first
    assert f"has revision {revisions['b']}" in second


def test_a_server_that_contradicts_itself_is_not_believed(couch):
    couch.write({"_id": "a"})
    states = CouchDB(couch.server.url, couch.server.auth, NAME)
    assert set(states.ids) == {"a"}
    couch.write({"_id": "b"})
    with pytest.raises(oracle.ServerContradictsItself, match="counts 2 live documents"):
        list(states.batches())


# --- its own parts -----------------------------------------------------------------------------


def test_keys_are_those_of_the_quarantine():
    assert key_of("a") == hashlib.sha256(b"a").digest()
    assert key_of("\ud800") == hashlib.sha256(b"\xed\xa0\x80").digest()


def test_deep_nesting_is_read_and_doubtful():
    flat = flatten(parse(b"[" * 50_000 + b"]" * 50_000))
    assert (len(flat.tokens), flat.doubtful) == (100_000, {"deep nesting"})
    assert not flatten(parse(b"[" * DEEP + b"]" * DEEP)).doubtful
