"""A CouchDB whose front demands a certificate of who asks."""

from __future__ import annotations

import json
import ssl

import pytest

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.errors import CouchDBError, SettingsError
from tests.unit.scripted_server import Answer, ScriptedServer

pytestmark = pytest.mark.integration
WELCOME = Answer(body=b'{"couchdb":"Welcome","version":"3.5.0","vendor":{"name":"somebody"}}')


@pytest.fixture
def server(authority, monkeypatch):
    server = ScriptedServer()
    server.script = [WELCOME]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("couchdb", "127.0.0.1"))
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    accept = server._server.get_request

    def wrapped():
        connection, address = accept()
        return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

    monkeypatch.setattr(server._server, "get_request", wrapped)
    monkeypatch.setattr(server._server, "handle_error", lambda *_: None)
    for name, value in {"HOST": "127.0.0.1", "PORT": str(server.port), "SECURE": "true"}.items():
        monkeypatch.setenv(f"COUCHDB_{name}", value)
    yield server
    server.close()


@pytest.mark.parametrize("through", ["variables", "connection"])
def test_a_client_certificate_is_shown(server, authority, monkeypatch, through):
    certificate, key = authority.issue("sync")
    if through == "variables":
        monkeypatch.setenv("COUCHDB_CA_BUNDLE", authority.path)
        monkeypatch.setenv("COUCHDB_CLIENT_CERT", certificate)
        monkeypatch.setenv("COUCHDB_CLIENT_KEY", key)
    else:
        extra = {"verify": authority.path, "cert": certificate, "key": key}
        fields = {"conn_type": "http", "host": "127.0.0.1", "port": server.port, "schema": "https", "extra": extra}
        monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps(fields))
    assert CouchDBHook().server().version == "3.5.0"
    assert len(server.requests) == 1


@pytest.mark.parametrize("shown", ["none", "stranger"])
def test_without_the_right_certificate_nothing_is_answered(server, authority, stranger, monkeypatch, shown):
    monkeypatch.setenv("COUCHDB_CA_BUNDLE", authority.path)
    if shown == "stranger":
        certificate, key = stranger.issue("sync")
        monkeypatch.setenv("COUCHDB_CLIENT_CERT", certificate)
        monkeypatch.setenv("COUCHDB_CLIENT_KEY", key)
    with pytest.raises((SettingsError, CouchDBError)) as caught:
        CouchDBHook(tolerance=0.3).server()
    assert "\n" not in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize("name", ["COUCHDB_CA_BUNDLE", "COUCHDB_CLIENT_CERT"])
def test_a_wrong_path_is_final_and_named(server, authority, monkeypatch, name):
    monkeypatch.setenv("COUCHDB_CA_BUNDLE", authority.path)
    monkeypatch.setenv(name, "/no/such.pem")
    with pytest.raises(SettingsError, match="/no/such.pem"):
        CouchDBHook(tolerance=0.3).server()
    assert server.requests == []
