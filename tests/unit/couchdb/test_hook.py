import base64
import io
import json
import socket
import time
from email.utils import formatdate
from urllib.parse import parse_qs, urlsplit

import pytest
from airflow.sdk import Connection

from cht_sync.common import retry
from cht_sync.couchdb import session
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import CouchDBError, NodeDownError, SettingsError, UnreadableAnswerError
from tests.unit.couchdb.test_structs import recorded
from tests.unit.scripted_server import Answer

PAGE = b'{"results":[],"last_seq":"2-b","pending":0}'
BAD_GATEWAY = Answer(502, b"<html>", {"Content-Type": "text/html"})


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(retry, "LONGEST_PAUSE", 0.05)


def hook_with(monkeypatch, **fields):
    connection = Connection(conn_id="cht_couchdb", conn_type="http", **fields)
    monkeypatch.setattr(session, "couchdb_connection", lambda conn_id: connection)
    return CouchDBHook(tolerance=3)


def page(hook, since=None):
    """A page as the feed asks for it, as often as it takes."""
    return hook.patiently(lambda: hook.changes("medic", since, 10))


@pytest.mark.parametrize(
    "failure",
    [
        Answer(429, b'{"error":"too_many_requests","reason":"slow down"}'),
        Answer(500, b'{"error":"internal_server_error","reason":"boom"}'),
        BAD_GATEWAY,
        Answer(503),
        Answer(504),
        Answer(cut=-1),
        Answer(body=PAGE, cut=10),
        Answer(body=b'{"error":"internal_server_error","reason":"boom"}'),
        Answer(body=PAGE[:-1]),
        Answer(body=b"\n<!DOCTYPE html><html>", headers={"Content-Type": "text/html"}),
        Answer(412, recorded("cluster/maintenance_changes")),
    ],
    ids=["429", "500", "502", "503", "504", "reset", "cut", "error in 200", "complete but truncated", "html", "412"],
)
def test_a_passing_failure_is_tried_again(couch, failure):
    couch.script = [failure, failure, Answer(body=PAGE)]
    assert page(CouchDBHook(tolerance=10), "1-a").checkpoint == "2-b"
    assert len(couch.requests) == 3


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "check COUCHDB_HOST"),
        (401, "COUCHDB_PASSWORD"),
        (403, "right to read"),
        (404, "COUCHDB_DBS"),
        (301, "COUCHDB_SECURE"),
        (412, "check COUCHDB_HOST"),
    ],
)
def test_a_final_refusal_is_not_tried_again(couch, status, said):
    couch.script = [Answer(status, b'{"error":"no","reason":"because"}', {"Location": "https://elsewhere/"})]
    with pytest.raises(SettingsError, match=said) as caught:
        page(CouchDBHook())
    assert len(couch.requests) == 1
    assert "database 'medic'" in str(caught.value)
    assert "no: because" in str(caught.value)
    assert "pässword" not in str(caught.value)


@pytest.mark.parametrize("name", ["maintenance_database", "maintenance_changes", "maintenance_all_docs"])
def test_a_node_that_is_down_is_named_with_what_to_do(couch, name):
    couch.script = [Answer(412, recorded(f"cluster/{name}"))]
    hook = CouchDBHook(tolerance=0.1)
    for call in (
        lambda: page(hook),
        lambda: hook.database("medic"),
        lambda: hook.states("medic", ["a"]),
        lambda: hook.listing("medic", (None, None), 1),
        lambda: hook.purged("medic"),
    ):
        before = len(couch.requests)
        with pytest.raises(
            NodeDownError, match=r"node couch2@127\.0\.0\.1 of the cluster .* maintenance_mode"
        ) as caught:
            call()
        assert len(couch.requests) - before >= 3
        assert "COUCHDB_" not in str(caught.value)


def test_a_pause_that_a_cluster_asks_for_is_made(couch):
    down = Answer(503, b'{"error":"nodedown","reason":"progress not possible"}', {"Retry-After": "1"})
    couch.script = [down, Answer(body=PAGE)]
    begun = time.monotonic()
    page(CouchDBHook(tolerance=10))
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize(
    "body",
    [b'{"results":[{"id":7,"doc":"\\ud800"}],"last_seq":"1","pending":0}', b'{"rows":[{"key":7,"doc":"\\ud800"}]}'],
)
def test_what_came_whole_and_cannot_be_read_is_not_asked_for_again(couch, body):
    couch.script = [Answer(body=body)]
    hook = CouchDBHook()
    with pytest.raises(UnreadableAnswerError):
        page(hook) if b"results" in body else hook.listing("medic", (None, None), 1)
    assert len(couch.requests) == 1


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        (Answer(body=recorded("server")), (3, 5)),
        (Answer(body=b'{"couchdb":"Welcome","version":"2.3.1"}'), (2, 3)),
        (Answer(body=b'{"express-pouchdb":"Welcome!","version":"4.2.0"}'), ()),
        (Answer(body=b"[]"), ()),
        (Answer(body=b"<html>"), ()),
        (Answer(401), ()),
        (Answer(404), ()),
        (Answer(302, headers={"Location": "/medic/login"}), ()),
    ],
)
def test_the_version_is_what_couchdb_says_or_nothing(couch, answer, version):
    couch.script = [answer]
    assert CouchDBHook().version() == version
    assert len(couch.requests) == 1


def test_keys_too_long_for_an_address_are_in_the_body(couch):
    couch.script = [Answer(body=recorded("server")), Answer(body=recorded("all_docs_startkey"))]
    CouchDBHook().listing("medic", ("é" * 2000, None), 10, bodies=True)
    method, path, _ = couch.requests[-1]
    assert (method, path) == ("POST", "/medic/_all_docs?limit=10&include_docs=true")
    assert json.loads(couch.bodies[-1]) == {"startkey": "é" * 2000}
    # Before 3.0 the body would not be looked at, and the listing begin at the beginning.
    couch.script = [Answer(body=b'{"couchdb":"Welcome","version":"2.3.1"}')]
    with pytest.raises(CouchDBError, match="CHT_FIRST_LOAD_THRESHOLD=0"):
        CouchDBHook().listing("medic", (None, "é" * 2000), 10)


def test_patience_ends(couch):
    couch.script = [BAD_GATEWAY]
    begun = time.monotonic()
    with pytest.raises(CouchDBError, match="answered 502"):
        page(CouchDBHook(tolerance=0.4))
    assert time.monotonic() - begun < 3
    assert len(couch.requests) > 1


def test_retry_after_is_honoured(couch):
    couch.script = [Answer(429, headers={"Retry-After": "1"}), Answer(body=PAGE)]
    begun = time.monotonic()
    page(CouchDBHook(tolerance=10))
    assert time.monotonic() - begun >= 1


def test_an_unreachable_host_is_named(monkeypatch):
    hook = hook_with(monkeypatch, host="127.0.0.1", port=9, login="a", password="s3cret")
    hook.tolerance = 0.3
    with pytest.raises(CouchDBError, match=r"http://127.0.0.1:9 could not be reached.*COUCHDB_HOST"):
        hook.server()


def test_a_server_that_speaks_no_tls_is_told(monkeypatch, couch):
    hook = hook_with(monkeypatch, host="127.0.0.1", port=couch.port, schema="https")
    with pytest.raises(SettingsError, match="COUCHDB_SECURE=false"):
        hook.server()


def test_a_ca_bundle_that_is_not_there_is_told(monkeypatch):
    extra = json.dumps({"verify": "/nowhere/ca.pem"})
    hook = hook_with(monkeypatch, host="127.0.0.1", port=9, schema="https", extra=extra)
    with pytest.raises(SettingsError, match=r"/nowhere/ca.pem.*extra of connection 'cht_couchdb'"):
        hook.server()


def test_something_that_is_no_couchdb(couch):
    couch.script = [Answer(body=b"<html>hello</html>")]
    with pytest.raises(CouchDBError, match="did not answer as CouchDB does"):
        CouchDBHook(tolerance=0.1).server()


def test_credentials_are_sent_as_utf8(couch):
    page(CouchDBHook())
    header = couch.requests[0][2]["Authorization"]
    assert base64.b64decode(header.removeprefix("Basic ")).decode() == "médic:pässword"


def test_a_cookie_is_fetched_again_when_it_has_expired(monkeypatch, couch):
    fields = {"host": "127.0.0.1", "port": couch.port, "login": "ann", "password": "pw"}
    hook = hook_with(monkeypatch, extra=json.dumps({"auth": "session"}), **fields)
    cookie = {"Set-Cookie": "AuthSession=c2Vzc2lvbg; Path=/; HttpOnly"}
    refused = Answer(401, recorded("changes_wrong_password"))
    couch.script = [refused, Answer(body=recorded("session"), headers=cookie), Answer(), Answer(), refused]
    couch.script += [Answer(body=recorded("session"), headers=cookie), Answer(body=PAGE)]
    assert [page(hook).checkpoint for _ in range(3)][-1] == "2-b"
    methods = [(method, path.partition("?")[0]) for method, path, _ in couch.requests]
    assert methods.count(("POST", "/_session")) == 2
    assert couch.requests[-1][2]["Cookie"] == "AuthSession=c2Vzc2lvbg"
    assert not any("Authorization" in headers for _, _, headers in couch.requests)


def test_a_wrong_password_with_cookies_is_final(monkeypatch, couch):
    extra = json.dumps({"auth": "session"})
    hook = hook_with(monkeypatch, host="127.0.0.1", port=couch.port, login="ann", password="pw", extra=extra)
    couch.script = [Answer(401, recorded("changes_wrong_password"))]
    with pytest.raises(SettingsError, match="Name or password is incorrect"):
        page(hook)
    assert len(couch.requests) == 2


def test_a_page_that_is_too_large_is_not_read_to_its_end(couch):
    couch.script = [Answer(body=b" " * 3_000_000)]
    with pytest.raises(PageTooLargeError):
        CouchDBHook().changes("medic", None, 10, most_bytes=1_000_000)


def test_the_way_the_feed_is_asked_for(couch):
    CouchDBHook().changes("a/b+c", '[1,"x&y"]', 250)
    method, path, _ = couch.requests[0]
    assert method == "GET"
    assert path == ("/a%2Fb%2Bc/_changes?include_docs=true&limit=250&seq_interval=250&since=%5B1%2C%22x%26y%22%5D")


def test_documents_by_id(couch):
    couch.script = [Answer(body=recorded("all_docs_keys"))]
    kept, deleted, missing = CouchDBHook().states("medic", ["a", "d", "missing"])
    assert (kept.id, kept.deleted, kept.rev[:2]) == ("a", False, "1-")
    assert (deleted.id, deleted.deleted, deleted.rev[:2]) == ("d", True, "2-")
    assert (missing.id, missing.rev, bytes(missing.error)) == ("missing", None, b'"not_found"')
    assert couch.requests[0][:2] == ("POST", "/medic/_all_docs")


def test_a_server_that_answers_for_other_documents_than_asked(couch):
    couch.script = [Answer(body=recorded("all_docs_keys"))]
    with pytest.raises(CouchDBError, match="other documents than"):
        CouchDBHook(tolerance=0.1).states("medic", ["a"])
    with pytest.raises(CouchDBError, match="other documents than"):
        CouchDBHook(tolerance=0.1).states("medic", ["d", "a", "missing"])


def test_the_state_of_a_document_with_an_odd_id(couch):
    couch.script = [Answer(body=rb'{"rows":[{"key":"l\ud800","id":"l\ud800","value":{"rev":"1-x"}}]}')]
    (state,) = CouchDBHook().states("medic", ["l\ud800"])
    assert (state.id, state.rev) == ("l\ud800", "1-x")


@pytest.mark.parametrize("body", [b"[]", b'{"rows":[1]}', b'{"rows":{}}', b'{"rows":[{"key":"a","value":7}]}', b"\xff"])
def test_states_that_are_none(couch, body):
    couch.script = [Answer(body=body)]
    with pytest.raises(CouchDBError):
        CouchDBHook(tolerance=0.1).states("medic", ["a"])


def test_one_document_goes_to_a_file_as_it_came(couch):
    body = b'{"_id":"_design/a b","_rev":"2-x", "views":{}}\n'
    couch.script = [Answer(body=b"half", cut=2), Answer(body=body)]
    with io.BytesIO() as sink:
        CouchDBHook(tolerance=3).body("medic", Change("_design/a b", [Revision("2-x")]), sink)
        assert sink.getvalue() == body
    assert couch.requests[-1][1] == "/medic/_design/a%20b?rev=2-x"


@pytest.mark.parametrize("name", [".", ".."])
def test_no_path_is_taken_for_a_document(couch, name):
    with pytest.raises(CouchDBError, match="No address"):
        CouchDBHook().body("medic", Change(name), io.BytesIO())
    assert couch.requests == []


@pytest.mark.parametrize("value", ["²", "Wed, 99 Nov", "-1", "Sat, 01 Jan 2000 00:00:00 GMT", ""])
def test_a_retry_after_that_is_none(couch, value):
    couch.script = [Answer(503, headers={"Retry-After": value}), Answer(body=PAGE)]
    assert page(CouchDBHook(tolerance=10)).checkpoint == "2-b"


def test_retry_after_may_be_a_date(couch):
    couch.script = [Answer(503, headers={"Retry-After": formatdate(time.time() + 2, usegmt=True)}), Answer(body=PAGE)]
    begun = time.monotonic()
    page(CouchDBHook(tolerance=10))
    assert time.monotonic() - begun >= 0.9


def test_an_error_page_without_end_is_not_read(couch):
    couch.script = [Answer(401, b"[" * 5_000_000)]
    with pytest.raises(SettingsError, match="401"):
        page(CouchDBHook())


def test_credentials_in_the_host_are_refused_without_showing_them(monkeypatch):
    hook = hook_with(monkeypatch, host="http://medic:s3cret@couch:5984", port=5985)
    with pytest.raises(SettingsError, match="move them to login and password") as caught:
        _ = hook.url
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(("status", "error"), [(404, CouchDBError), (400, CouchDBError), (401, SettingsError)])
def test_a_document_that_is_refused_is_not_the_settings_fault(couch, status, error):
    couch.script = [Answer(status)]
    with pytest.raises(error):
        CouchDBHook().body("medic", Change("a"), io.BytesIO())
    assert len(couch.requests) == 1


def test_what_a_server_and_a_database_say_of_themselves(couch):
    couch.script = [
        Answer(body=recorded("server")),
        Answer(body=recorded("database")),
        Answer(body=recorded("all_dbs")),
    ]
    hook = CouchDBHook()
    assert hook.server().version == "3.5.2"
    info = hook.database("record")
    assert (info.doc_count, info.doc_del_count, info.instance_start_time) == (7, 2, "1795319960")
    assert hook._decoded(list[str], "/_all_dbs", "the list of databases") == [
        "_replicator",
        "_users",
        "medic",
        "poison",
        "record",
    ]


def test_the_connection_test_tells_good_from_bad(couch):
    couch.script = [Answer(body=recorded("server")), Answer(body=recorded("session"))]
    assert CouchDBHook().test_connection() == (True, f"CouchDB answers at http://127.0.0.1:{couch.port}.")
    couch.script = [Answer(body=recorded("server")), Answer(401, recorded("changes_wrong_password"))]
    good, said = CouchDBHook().test_connection()
    assert not good
    assert "COUCHDB_PASSWORD" in said


@pytest.mark.parametrize(
    ("fields", "url", "instance"),
    [
        ({"host": "couch:6984", "port": 5984}, None, None),
        ({"host": "couch.example.org"}, "https://couch.example.org", "couch.example.org"),
        ({"host": "couch.example.org", "schema": "http"}, "http://couch.example.org", "couch.example.org"),
        (
            {"host": "couch.example.org", "schema": "https", "port": 6984},
            "https://couch.example.org:6984",
            "couch.example.org",
        ),
        ({"host": "https://couch.example.org/couch/"}, "https://couch.example.org/couch", "couch.example.org"),
        ({"host": "::1", "port": 5984}, None, None),
        ({"host": "[::1]", "port": 5984}, "http://[::1]:5984", "::1"),
        ({"host": "couch", "extra": '{"instance": "north"}'}, "http://couch", "north"),
        ({"host": ""}, None, None),
        ({"host": "couch", "schema": "ftp"}, None, None),
    ],
)
def test_the_address_comes_from_the_connection(monkeypatch, fields, url, instance):
    hook = hook_with(monkeypatch, **fields)
    if url is None:
        with pytest.raises(SettingsError, match="Connection 'cht_couchdb' has"):
            _ = hook.url
    else:
        assert (hook.url, hook.instance) == (url, instance)


def test_another_kind_of_authentication_is_refused(monkeypatch):
    hook = hook_with(monkeypatch, host="couch", login="a", extra='{"auth": "jwt"}')
    with pytest.raises(SettingsError, match="basic or session"):
        hook.get_conn()


@pytest.mark.parametrize("value", ["soon", -1, 0, None])
def test_a_timeout_that_is_none_is_refused(monkeypatch, value):
    hook = hook_with(monkeypatch, host="couch", extra=json.dumps({"read_timeout": value}))
    with pytest.raises(SettingsError, match="read_timeout"):
        _ = hook.timeouts


def test_a_long_time_out_does_not_use_up_the_patience(couch, monkeypatch):
    couch.script = [Answer(delay=0.6), Answer(delay=0.6), Answer(body=PAGE)]
    fields = {"host": "127.0.0.1", "port": couch.port}
    hook = hook_with(monkeypatch, extra=json.dumps({"read_timeout": 0.2}), **fields)
    hook.tolerance = 0.1
    assert page(hook).checkpoint == "2-b"


@pytest.mark.parametrize("to_file", [False, True])
def test_an_answer_that_drips_is_given_up_and_asked_for_again(couch, monkeypatch, to_file):
    couch.script = [Answer(body=PAGE, drip=0.1), Answer(body=PAGE)]
    extra = json.dumps({"read_timeout": 0.3})
    hook = hook_with(monkeypatch, host="127.0.0.1", port=couch.port, extra=extra)
    sink = io.BytesIO()
    begun = time.monotonic()
    if to_file:
        hook.body("medic", Change("a", [Revision("1-a")]), sink)
    else:
        assert page(hook).checkpoint == "2-b"
    assert time.monotonic() - begun < len(PAGE) * 0.1
    assert len(couch.requests) == 2
    assert sink.getvalue() == (PAGE if to_file else b"")


def test_no_part_of_a_document_is_in_the_error(couch):
    couch.script = [Answer(body=b'{"results":[{"id":"a","doc":{"name":"Amina Hassan","phone":"+254700000001"')]
    with pytest.raises(CouchDBError) as caught:
        page(CouchDBHook(tolerance=0.1))
    assert "Amina" not in str(caught.value)
    assert "254" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_listing_is_asked_for_as_couchdb_wants_it(couch):
    couch.script = [Answer(body=b'{"rows":[{"id":"a","key'), Answer(body=recorded("all_docs_startkey"))]
    found = CouchDBHook().listing("medic", ("c", 'e"\ud800'), 10, skip=2, bodies=True)
    # An answer that broke off with status 200 was asked for again.
    assert len(couch.requests) == 2
    asked = parse_qs(urlsplit(couch.requests[-1][1]).query)
    assert (asked["startkey"], asked["endkey"]) == (['"c"'], [r'"e\"\ud800"'])
    assert (asked["inclusive_end"], asked["limit"], asked["skip"], asked["include_docs"]) == (
        ["false"],
        ["10"],
        ["2"],
        ["true"],
    )
    assert found[0].id == "c"


def test_a_listing_that_is_too_large_says_so(couch):
    couch.script = [Answer(body=recorded("all_docs"))]
    with pytest.raises(PageTooLargeError):
        CouchDBHook().listing("medic", (None, None), 10, bodies=True, most_bytes=100)


def test_purged_documents_are_told_where_the_server_tells(couch):
    couch.script = [Answer(body=recorded("purged_infos"))]
    assert CouchDBHook().purged("medic") == ["a"]
    for refusal in (Answer(403, b'{"error":"forbidden"}'), Answer(404, b'{"error":"not_found"}')):
        couch.script = [refusal]
        assert CouchDBHook().purged("medic") == []


def test_an_account_that_is_locked_is_told_from_one_without_the_right(couch):
    reason = "Account is temporarily locked due to multiple authentication failures"
    couch.script = [Answer(403, json.dumps({"error": "forbidden", "reason": reason}).encode())]
    with pytest.raises(SettingsError, match=r"locked.*correct COUCHDB_PASSWORD.*and wait") as caught:
        page(CouchDBHook())
    assert "right to read" not in str(caught.value)


def test_a_server_that_waits_where_tls_begins_may_not_speak_it(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/https?connect_timeout=0.2&read_timeout=0.2"
        monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", address)
        with pytest.raises(CouchDBError, match="COUCHDB_SECURE=false"):
            page(CouchDBHook(tolerance=0.1))
