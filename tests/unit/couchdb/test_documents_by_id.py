"""Every ``_id`` leads to its document, by an address or by a question."""

from __future__ import annotations

import io
import json
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.common import retry
from cht_sync.couchdb.documents_by_id import LONGEST_ADDRESS, address_of
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import BrokenAnswerError, NodeDownError, NotHandedOutError, SettingsError
from tests.unit.couchdb.test_structs import recorded
from tests.unit.scripted_server import Answer

NOT_FOUND = Answer(404, b'{"error":"not_found","reason":"missing"}')


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.01)


def fetched(id, rev="1-a", tolerance=0.2):
    sink = io.BytesIO()
    CouchDBHook(tolerance=tolerance).body("medic", Change(id, [Revision(rev)]), sink)
    return sink.getvalue()


def bulk(leaf, id="a", id_first=True):
    name, docs = b'"id":%s' % json.dumps(id).encode(), b'"docs":[%s]' % leaf
    members = (name, docs) if id_first else (docs, name)
    return Answer(body=b'{"results":[{%s}]}\n' % b",".join(members))


@given(st.text(st.characters(), min_size=1, max_size=20))
def test_an_address_leads_to_its_id_and_to_no_other(id):
    address = address_of(id)
    if address is None:
        assert id in {".", ".."} or id.startswith("_")
        return
    design, slash, rest = address.partition("/")
    parts = [design, rest] if slash else [design]
    read = "/".join(unquote_to_bytes(each).decode("utf-8", "surrogatepass") for each in parts)
    assert read == id
    assert not slash or design == "_design"


@pytest.mark.parametrize(
    ("id", "address"),
    [
        ("a/b", "a%2Fb"),
        ("a:b", "a%3Ab"),
        ("%2F+ #?&", "%252F%2B%20%23%3F%26"),
        ("_design/x", "_design/x"),
        ("_design/a/b", "_design/a%2Fb"),
        ("_design/", None),
        ("_design", None),
        ("_design/..", None),
        ("_local/x", None),
        ("_changes", None),
        (".", None),
        ("..", None),
        ("...", "..."),
        ("l\ud800", "l%ED%A0%80"),
        ("x" * LONGEST_ADDRESS, "x" * LONGEST_ADDRESS),
        ("x" * (LONGEST_ADDRESS + 1), None),
        ("é" * 1000, None),
    ],
)
def test_addresses(id, address):
    assert address_of(id) == address


def test_a_design_document_is_asked_for_as_couchdb_wants_it(couch):
    couch.script = [Answer(body=recorded("cluster/design_plain"))]
    assert fetched("_design/x", "1-0b24e44a44af45e51e562fd124ce3007") == recorded("cluster/design_plain")
    assert couch.requests[-1][1].startswith("/medic/_design/x?")


@pytest.mark.parametrize("id", [".", "..", "_local/x", "é" * 4500, "_design/" + "x" * 9000])
@pytest.mark.parametrize("id_first", [True, False], ids=["3.4", "3.5"])
def test_an_id_without_an_address_is_asked_for_in_the_body(couch, id, id_first):
    body = b'{"_id":%s,"_rev":"1-a","t":[{"docs":[{"ok":{}}]}] }' % json.dumps(id).encode()
    couch.script = [bulk(b'{"ok": ' + body + b"}", id, id_first)]
    assert fetched(id) == body
    assert [path for _, path, _ in couch.requests] == ["/medic/_bulk_get"]
    assert json.loads(couch.bodies[-1]) == {"docs": [{"id": id, "rev": "1-a"}]}


@pytest.mark.parametrize(
    "refusal",
    [
        NOT_FOUND,
        Answer(301, recorded("cluster/design_slash_escaped"), {"Location": "http://elsewhere/"}),
        Answer(400, recorded("cluster/long_id_in_url")),
        Answer(404, b"<html>", {"Content-Type": "text/html"}),
        Answer(405),
        Answer(414, b"<html>"),
    ],
    ids=["404", "301", "400", "404 of a proxy", "405", "414"],
)
def test_where_an_address_is_refused_the_question_has_the_document(couch, refusal):
    body = b'{"_id":"a/b","_rev":"1-a"}'
    couch.script = [refusal, bulk(b'{"ok":%s}' % body)]
    assert fetched("a/b") == body


@given(doc=st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_a_document_is_cut_out_byte_by_byte(doc):
    hook, sink, answer = CouchDBHook(), io.BytesIO(), io.BytesIO()
    body = json.dumps({"_id": "a", "d": doc}).encode()
    for id_first in (True, False):
        answer = io.BytesIO(bulk(b'{"ok":%s}' % body, 'a"}]', id_first).body)
        assert hook._unwrap(answer, sink, 'a"}]', "") is None
        assert sink.getvalue() == body


def test_a_large_document_with_a_long_id_is_cut_out_too(couch):
    id = "é" * 4500
    body = b'{"_id":%s,"_rev":"1-a","t":"%s"}' % (json.dumps(id).encode(), b"x" * 20_000_000)
    couch.script = [bulk(b'{"ok":%s}' % body, id)]
    assert fetched(id, tolerance=5) == body


@pytest.mark.parametrize(
    "leaf",
    [
        b'{"error":{"id":"a","rev":"1-a","error":"not_found","reason":"missing"}}',
        b'{"error":"not_found","reason":"missing"}',
        b"{}",
    ],
)
def test_what_couchdb_does_not_have_is_not_handed_out(couch, leaf):
    couch.script = [NOT_FOUND, bulk(leaf)]
    with pytest.raises(NotHandedOutError, match="missing"):
        fetched("a")
    assert len(couch.requests) == 2


def test_where_nobody_knows_bulk_get_the_refusal_of_the_address_is_told(couch):
    couch.script = [Answer(400, b'{"error":"bad_request","reason":"odd"}'), Answer(404)]
    with pytest.raises(NotHandedOutError, match="bad_request: odd"):
        fetched("a")


@pytest.mark.parametrize(
    "answer",
    [
        Answer(412, recorded("cluster/maintenance_changes")),
        Answer(500, b'{"error":"nodedown","reason":"progress not possible"}'),
        Answer(500, b'{"error":"unknown_error","reason":"maintenance_mode"}'),
        Answer(
            503,
            b'{"error":"service unavailable","reason":"Nodes are unable to service this request due to overloading'
            b' or maintenance mode."}',
        ),
        Answer(200, b'{"error":"nodedown","reason":"progress not possible"}'),
    ],
)
def test_a_node_that_is_down_is_no_fault_of_the_document(couch, answer):
    couch.script = [answer]
    with pytest.raises(NodeDownError, match="of the cluster is down or in maintenance mode") as caught:
        fetched("a")
    assert len(couch.requests) > 1
    assert "COUCHDB_HOST" not in str(caught.value)


@pytest.mark.parametrize(
    "reason", [b"all_workers_died", b"read_failure", b"timeout", b"{badmatch,{error,file_corruption}}"]
)
def test_what_may_be_the_documents_fault_is_left_to_whoever_asks(couch, reason):
    couch.script = [Answer(500, b'{"error":"error","reason":"%s"}' % reason)]
    with pytest.raises(BrokenAnswerError):
        fetched("a")
    assert len(couch.requests) > 2


@pytest.mark.parametrize("reason", [b"nodedown", b"all_workers_died", b"maintenance_mode"])
def test_a_node_that_is_down_while_the_question_is_asked(couch, reason):
    couch.script = [
        bulk(b'{"error":{"id":".","rev":"1-a","error":"internal_fabric_error","reason":"%s"}}' % reason),
        bulk(b'{"ok":{"_id":".","_rev":"1-a"}}'),
    ]
    assert fetched(".", tolerance=5) == b'{"_id":".","_rev":"1-a"}'


def test_an_error_that_may_pass_is_not_taken_for_a_refusal(couch):
    couch.script = [bulk(b'{"error":{"id":".","rev":"1-a","error":"internal_fabric_error","reason":"timeout"}}')]
    with pytest.raises(BrokenAnswerError, match="internal_fabric_error: timeout"):
        fetched(".")
    assert len(couch.requests) > 2


@pytest.mark.parametrize("reason", ["Database does not exist.", "no_db_file"])
@pytest.mark.parametrize("id", ["a", "."])
def test_a_database_that_is_gone_is_no_fault_of_the_document(couch, reason, id):
    couch.script = [Answer(404, json.dumps({"error": "not_found", "reason": reason}).encode())]
    with pytest.raises(SettingsError, match="COUCHDB_DBS"):
        fetched(id)


@pytest.mark.parametrize(
    "broken",
    [
        Answer(200, b""),
        Answer(200, b'{"_id":"a","_rev":"1-a","t":"x'),
        Answer(200, b'{"error":"timeout","reason":"late"}'),
        Answer(200, b"<html><body>Sign in</body></html>", {"Content-Type": "text/html"}),
    ],
    ids=["nothing", "cut", "error", "html"],
)
def test_an_answer_200_that_is_no_document_is_asked_for_again(couch, broken):
    body = b'{"_id":"a","_rev":"1-a","t":"x"}'
    couch.script = [broken, broken, Answer(body=body)]
    assert fetched("a", tolerance=5) == body


def test_the_long_address_is_one_that_couchdb_takes():
    assert len(f"GET /medic/{quote('x' * LONGEST_ADDRESS)}?rev={'1' * 50} HTTP/1.1") < 8192
