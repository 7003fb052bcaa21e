"""Answers that are small on the wire, or that never end: of CouchDB, of Superset, of the services of alerts."""

import gzip
import io
import json
import resource
import time
import zlib

import pytest

from cht_sync.common.memory import at_most
from cht_sync.couchdb import request as transport
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.dashboards.settings import Login
from cht_sync.dashboards.superset import Superset
from cht_sync.errors import CouchDBError, SettingsError, SupersetError
from cht_sync.monitoring.alerts import channels as module
from cht_sync.monitoring.alerts.channels import _services, send
from tests.integration.security.attacks.strangers import Answer, Stranger, measured

pytestmark = pytest.mark.integration
MEGABYTE = 2**20
# Beyond what the imports took: CHT_SYNC_MAX_MB=64 as bytes, and what they are read into.
MOST_MB = 400
SMALL_MB = 30


def packed(pieces, wbits):
    packer, stream = zlib.compressobj(1, wbits=wbits), io.BytesIO()
    for piece in pieces:
        stream.write(packer.compress(piece))
    stream.write(packer.flush())
    return stream.getvalue()


def nested(begin, piece):
    """Some 400 MB."""
    yield begin
    block = piece * (MEGABYTE // len(piece))
    yield from (block for _ in range(400))


SMALL = {
    "server()": (b'{"couchdb":"Welcome","version":"3","vendor":{', b'"a":1,'),
    "version()": (b'{"couchdb":"Welcome","vendor":{', b'"a":1,'),
    "database('medic')": (b'{"db_name":"medic","x":[', b"[],"),
    "has_changes('medic', None, 5)": (b'{"results":[', b'{"id":"a"},'),
    "test_connection()": (b'{"ok":true,"x":[', b"[],"),
}
DATABASES = "_decoded(list[str], '/_all_dbs', 'the list of databases')"
LISTS = {
    DATABASES: (b"[", b'"",'),
    "purged('medic')": (b'{"purged_infos":[', b'{"id":""},'),
    "states('medic', ['a'])": (b'{"rows":[', b'{"key":"","value":{"rev":""}},'),
    "listing('medic', (None, None), 10)": (b'{"rows":[', b"[],"),
    "leaves('medic', ['a'], 64 * 2**20)": (b'{"results":[', b'{"id":"","docs":[]},'),
    "changes('medic', None, 10)": (b'{"results":[', b'{"id":""},'),
    "changes_of('medic', ['a'])": (b'{"results":[', b"{},"),
}
ENDS = dict.fromkeys(LISTS, b"]}") | {DATABASES: b"]", "changes('medic', None, 10)": b'],"last_seq":"1"}'}


def asked(call, url, **environ):
    host, _, port = url.removeprefix("http://").partition(":")
    return measured(
        f"CouchDBHook(tolerance=0).{call}",
        COUCHDB_HOST=host,
        COUCHDB_PORT=port,
        COUCHDB_SECURE="false",
        **environ,
    )


@pytest.mark.parametrize(("encoding", "wbits"), [("gzip", 31), ("deflate", 15)])
@pytest.mark.parametrize("call", SMALL)
def test_small_answers_of_couchdb_stay_small(call, encoding, wbits):
    body = packed(nested(*SMALL[call]), wbits)
    with Stranger(lambda _: Answer(200, {"Content-Encoding": encoding}, body)) as server:
        said, memory, _ = asked(call, server.url)
        assert not said or f"CouchDB at {server.url} answered with more than 1 MB" in said
        assert not said or "COUCHDB_HOST" in said
    assert memory < SMALL_MB


@pytest.mark.slow
@pytest.mark.parametrize("call", LISTS)
def test_lists_of_couchdb_have_a_bound(call):
    body = packed(nested(*LISTS[call]), 31)
    with Stranger(lambda _: Answer(200, {"Content-Encoding": "gzip"}, body)) as server:
        said, memory, _ = asked(call, server.url)
    assert memory < MOST_MB
    if not call.startswith("purged"):  # which can do without
        assert "more than 64 MB" in said
        assert "CHT_SYNC_MAX_MB" in said


@pytest.mark.slow
@pytest.mark.parametrize("call", LISTS)
def test_what_is_just_small_enough_grows_little_once_it_is_read(call):
    begin, piece, end = (*LISTS[call], ENDS[call])
    pieces = [begin, *[piece * (MEGABYTE // len(piece))] * 63, piece[:-1], end]
    with Stranger(lambda _: Answer(200, {"Content-Encoding": "gzip"}, packed(pieces, 31))) as server:
        _, memory, _ = asked(call, server.url)
    assert memory < MOST_MB


@pytest.mark.parametrize("status", [301, 307, 401, 404, 412, 500, 503])
@pytest.mark.parametrize("auth", ["basic", "session"])
def test_what_an_error_says_is_not_read_to_its_end(status, auth):
    body = packed(nested(b'{"error":"', b"x"), 31)
    headers = {"Content-Encoding": "gzip", "Location": "http://elsewhere.example.org/"}
    connection = {"conn_type": "http", "host": "127.0.0.1", "login": "me", "password": "p", "extra": {"auth": auth}}
    with Stranger(lambda _: Answer(status, headers, body)) as server:
        connection |= {"port": server.port, "schema": "http"}
        said, memory, _ = asked("database('medic')", server.url, AIRFLOW_CONN_CHT_COUCHDB=json.dumps(connection))
        if status in {301, 307}:
            assert f"{server.url} leads to http://elsewhere.example.org by a redirect with" in said
    assert str(status) in said
    assert memory < SMALL_MB


def test_signing_in_has_a_bound():
    body = packed(nested(b'{"ok":true,"x":"', b"x"), 31)

    def answer(request):
        return Answer(200, {"Content-Encoding": "gzip"}, body) if request.path == "/_session" else Answer(401)

    connection = {"conn_type": "http", "host": "127.0.0.1", "login": "me", "password": "p", "schema": "http"}
    with Stranger(answer) as server:
        connection |= {"port": server.port, "extra": {"auth": "session"}}
        said, memory, _ = asked("database('medic')", server.url, AIRFLOW_CONN_CHT_COUCHDB=json.dumps(connection))
    assert "more than 1 MB" in said
    assert memory < SMALL_MB


@pytest.mark.parametrize("path", ["/_session", "/medic"])
def test_a_session_is_led_nowhere(path):
    with Stranger(lambda _: Answer(), "localhost") as thief:

        def answer(request):
            if request.path == path:
                return Answer(307, {"Location": f"{thief.url}{path}"})
            return Answer(200, {"Set-Cookie": "AuthSession=c4nary; Path=/"}, b'{"ok":true}')

        connection = {"conn_type": "http", "host": "127.0.0.1", "login": "me", "password": "c4nary", "schema": "http"}
        with Stranger(
            lambda request: (
                Answer(401)
                if not request.headers.get("Cookie") and request.path == "/medic" and path == "/_session"
                else answer(request)
            )
        ) as server:
            connection |= {"port": server.port, "extra": {"auth": "session"}}
            said, _, _ = asked("database('medic')", server.url, AIRFLOW_CONN_CHT_COUCHDB=json.dumps(connection))
            assert f"{server.url} leads to {thief.url} by a redirect with" in said
        assert thief.asked == []


def endless():
    while True:
        yield b"{" + b" " * MEGABYTE


def test_a_document_without_end_is_left(monkeypatch):
    monkeypatch.setattr(transport, "LARGEST_DOCUMENT", 3 * MEGABYTE)
    monkeypatch.setattr("cht_sync.couchdb.documents_by_id.LARGEST_DOCUMENT", 3 * MEGABYTE)
    from cht_sync.couchdb.structs import Change, Revision

    with Stranger(lambda _: Answer(body=endless())) as server, io.BytesIO() as sink:
        monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
        monkeypatch.setenv("COUCHDB_PORT", str(server.port))
        with pytest.raises(CouchDBError, match="more than 3 MB"):
            CouchDBHook(tolerance=0).body("medic", Change("a", [Revision("1-a")]), sink)
        assert len(sink.getvalue()) <= 3 * MEGABYTE


def test_superset_is_no_bomb_and_no_guide(monkeypatch):
    body = gzip.compress(b'{"x":"' + bytes(100 * MEGABYTE), 1)
    login = "http://{}", "admin", "c4nary-password"
    for status in (200, 302, 422, 500):
        headers = {"Content-Encoding": "gzip", "Location": "http://me:x@elsewhere.example.org/login"}
        with Stranger(lambda _, status=status, headers=headers: Answer(status, headers, body)) as server:
            superset = Superset(Login(login[0].format(server.address), *login[1:]))
            with pytest.raises((SupersetError, SettingsError)) as refused, superset:
                pass
        assert "sent more than 4 MB" in str(refused.value)
    with (
        Stranger(lambda _: Answer(307, {"Location": "http://me:x@elsewhere.example.org/"})) as server,
        pytest.raises(SettingsError, match=r"another address, http://elsewhere.example.org, where the password"),
        Superset(Login(server.url, "admin", "c4nary-password")),
    ):
        pass

    def drip():
        while True:
            yield b" "
            time.sleep(0.1)

    monkeypatch.setattr("cht_sync.dashboards.superset.PATIENCE_S", 1.0)
    with (
        Stranger(lambda _: Answer(body=drip())) as server,
        pytest.raises(SupersetError),
        Superset(Login(server.url, "admin", "p")),
    ):
        pass


class Message:
    title, text, html, good = "c4nary title", "c4nary text", "", False


@pytest.fixture
def webhook(monkeypatch):
    def make(server):
        config = f"json://{server.address}/hook?+X-Key=c4nary-key"
        connection = {"conn_type": "apprise", "extra": {"config": json.dumps([{"path": config, "tag": "a"}])}}
        monkeypatch.setenv("AIRFLOW_CONN_HOOK", json.dumps(connection))
        return _services("HOOK".lower())

    return make


@pytest.mark.parametrize("status", [302, 307, 308])
def test_a_message_goes_where_somebody_said_and_nowhere_else(webhook, caplog, status):
    with Stranger(lambda _: Answer(), "localhost") as thief:
        with Stranger(lambda request: Answer(status, {"Location": thief.url + request.path})) as server:
            assert list(send(webhook(server), Message)) == []
            assert server.saw("c4nary-key")
        assert thief.asked == []
    assert "A redirect to another address is not followed" in caplog.text
    with Stranger(lambda _: Answer()) as server:
        assert len(list(send(webhook(server), Message))) == 1


def test_what_a_service_answers_has_a_bound(webhook, caplog, monkeypatch):
    monkeypatch.setattr(module, "MOST_MEMORY", 100 * MEGABYTE)
    body = packed(nested(b"", b"x"), 31)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with Stranger(lambda _: Answer(200, {"Content-Encoding": "gzip"}, body)) as server:
        assert list(send(webhook(server), Message)) == []
    assert "takes more than 100 MB" in caplog.text
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


def test_the_bound_of_memory_ends_with_what_it_is_for():
    with at_most(50 * MEGABYTE), pytest.raises(MemoryError):
        bytearray(200 * MEGABYTE)
    assert len(bytearray(200 * MEGABYTE)) == 200 * MEGABYTE
