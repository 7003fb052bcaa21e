"""Which servers the demo uses."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from include.demo.errors import DemoError
from include.demo.servers import Servers, foreign, settings_of

pytestmark = pytest.mark.integration
REAL = {
    "COUCHDB_HOST": "couch.example.org",
    "COUCHDB_DBS": "medic",
    "POSTGRES_HOST": "postgres.example.org",
    "POSTGRES_PASSWORD": "p",
}


def test_servers_that_are_named_are_used(server_folder):
    with ExitStack() as stack:
        servers = Servers.start(server_folder / "choice-both", REAL, stack)
        assert servers.couchdb is None
        assert servers.settings == REAL
        # Airflow's own database never goes to a server of the person.
        assert "@127.0.0.1:" in servers.metadata


def test_one_server_may_be_named(server_folder):
    named = {name: value for name, value in REAL.items() if name.startswith("POSTGRES_")}
    with ExitStack() as stack:
        servers = Servers.start(server_folder / "choice-one", named, stack)
        assert servers.couchdb is not None
        assert servers.settings["COUCHDB_HOST"] == "127.0.0.1"
        assert servers.settings["POSTGRES_HOST"] == "postgres.example.org"
        assert servers.settings["COUCHDB_DBS"] == "medic, medic-sentinel, medic-users-meta"


def test_connections_of_airflow_do_not_win_over_embedded_servers(server_folder):
    elsewhere = {"AIRFLOW_CONN_CHT_POSTGRES": "postgres://production", "CHT_COUCHDB_CONN_IDS": "north"}
    with ExitStack() as stack:
        servers = Servers.start(server_folder / "choice-none", elsewhere, stack)
        assert not set(elsewhere) & set(servers.settings)


def test_the_environment_comes_before_the_file(tmp_path: Path, monkeypatch):
    file = tmp_path / ".env"
    file.write_text('COUCHDB_HOST="from file"\nCOUCHDB_USER=ann\nPOSTGRES_HOST=\n')
    monkeypatch.setenv("COUCHDB_HOST", "from environment")
    monkeypatch.setenv("COUCHDB_USER", "")
    found = settings_of(file)
    assert (found["COUCHDB_HOST"], found["COUCHDB_USER"]) == ("from environment", "ann")
    assert "POSTGRES_HOST" not in found


def test_passwords_may_be_in_files(tmp_path: Path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    monkeypatch.setenv("POSTGRES_PASSWORD_FILE", str(secret))
    found = settings_of(tmp_path / "no.env")
    assert found["POSTGRES_PASSWORD"] == "s3cret"
    assert "POSTGRES_PASSWORD_FILE" not in found
    monkeypatch.setenv("COUCHDB_PASSWORD_FILE", str(tmp_path / "nowhere"))
    with pytest.raises(DemoError, match="COUCHDB_PASSWORD_FILE"):
        settings_of(tmp_path / "no.env")


def test_what_is_foreign_holds_no_setting():
    environ = {
        "PATH": "/bin",
        "COUCHDB_HOST": "a",
        "BATCH_SIZE": "1",
        "AIRFLOW_CONN_CHT_COUCHDB": "b",
        "CHT_DEMO_CACHE": "c",
    }
    assert foreign(environ) == {"PATH": "/bin", "CHT_DEMO_CACHE": "c"}
