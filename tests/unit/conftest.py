import pytest

from tests.unit.scripted_server import ScriptedServer


@pytest.fixture
def couch(monkeypatch):
    """A scripted server that ``COUCHDB_*`` name."""
    server = ScriptedServer()
    monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
    monkeypatch.setenv("COUCHDB_PORT", str(server.port))
    monkeypatch.setenv("COUCHDB_USER", "médic")
    monkeypatch.setenv("COUCHDB_PASSWORD", "pässword")
    yield server
    server.close()
