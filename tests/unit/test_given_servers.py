"""How the tests find real servers."""

import socket
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import requests

from include.demo.servers import foreign
from tests import servers
from tests.servers import GIVEN, Address, GivenCouchDB, GivenPostgres, given, mine


def test_what_names_real_servers_reaches_the_tests():
    names = dict.fromkeys(GIVEN.values(), "http://a:b@host")
    assert foreign({**names, "COUCHDB_HOST": "production"}) == names


@pytest.mark.parametrize(("value", "found"), [(None, None), (" ", None), (" http://a ", "http://a")])
def test_an_empty_variable_names_none(monkeypatch, value, found):
    for kind, variable in GIVEN.items():
        monkeypatch.delenv(variable, raising=False)
        if value is not None:
            monkeypatch.setenv(variable, value)
        assert given(kind) == found


def test_an_address_is_taken_apart_and_shows_no_password():
    found = Address.parse("https://me%40x:p%2Fw@db.example.org", 5984)
    assert found == Address("db.example.org", 5984, "me@x", "p/w", tls=True)
    assert "p/w" not in repr(found)
    assert Address.parse("postgresql://u:p@[::1]:5433/ignored", 5432) == Address("::1", 5433, "u", "p")
    with pytest.raises(AssertionError) as caught:
        Address.parse("u:secret@host", 5984)
    assert "secret" not in str(caught.value)


def test_a_name_that_another_session_could_have_is_refused():
    server = GivenPostgres("postgresql://u:p@127.0.0.1:9")
    with pytest.raises(AssertionError, match="'medic' would stay"):
        server.create_database("medic")


class Node(HTTPServer):
    """Counts connections; has a database of this session, one of another, and notes what is deleted."""

    def __init__(self):
        self.connections, self.deleted = 0, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def get_request(self) -> tuple[socket.socket, object]:
        self.connections += 1
        return super().get_request()


class Handler(BaseHTTPRequestHandler):
    server: Node

    def do_GET(self):
        self.answer(f'["medic", "{mine("a/b")}"]'.encode())

    def do_DELETE(self):
        self.server.deleted.append(self.path)
        self.answer(b"{}")

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


def test_connections_go_to_the_nodes_in_turn_and_what_is_of_this_session_is_dropped():
    with ExitStack() as stack:
        nodes = [Node() for _ in range(3)]
        for node in nodes:
            stack.callback(node.server_close)
            stack.callback(node.shutdown)
        urls = ", ".join(f"http://me:pw@127.0.0.1:{node.server_address[1]}" for node in nodes)
        with GivenCouchDB(urls) as couchdb:
            assert (couchdb.host, couchdb.auth) == ("127.0.0.1", ("me", "pw"))
            for _ in range(6):
                requests.get(couchdb.url, auth=couchdb.auth, timeout=10).raise_for_status()
            assert [node.connections for node in nodes] == [2, 2, 2]
        assert [path for node in nodes for path in node.deleted] == [f"/a%2Fb_{servers.MARK}"]
