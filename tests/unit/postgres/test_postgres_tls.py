import json
import logging
import socket
import threading

import pytest
from airflow.sdk import Connection

from cht_sync.dbt.launch.profile import profile_config
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres import tls
from cht_sync.postgres.tls import is_loopback, secured, tls_advice, tls_environment
from cht_sync.settings.connections import dbt_connection, postgres_connection, system_bundle
from cht_sync.settings.settings import Settings

LIBPQ = ("PGSSLMODE", "PGSSLROOTCERT", "PGSERVICE", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def no_variables_of_libpq(monkeypatch, tmp_path):
    for name in LIBPQ:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tls._warn_once.cache_clear()


def connection(host="db.example.org", port=5432, **extra):
    return Connection(
        conn_id="cht_postgres", conn_type="postgres", host=host, port=port, login="r", extra=json.dumps(extra)
    )


@pytest.fixture
def server(monkeypatch):
    """A server that gives one answer, and counts who asks; it looks as if it were far away."""
    monkeypatch.setattr(tls, "is_loopback", lambda host: False)
    made = []

    def make(answer):
        listening = socket.create_server(("127.0.0.1", 0))
        asked = []

        def serve():
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    asked.append(client.recv(8))
                    client.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        made.append(listening)
        return listening.getsockname()[1], asked

    yield make
    for listening in made:
        listening.close()


def test_a_server_with_tls_is_verified(server):
    port, asked = server(b"S")
    found = secured(connection("127.0.0.1", port, keepalives_idle=3)).extra_dejson
    assert found == {"keepalives_idle": 3, "sslmode": "verify-full", "sslrootcert": system_bundle()}
    assert asked == [bytes.fromhex("0000000804d2162f")]
    assert tls_environment(connection("127.0.0.1", port)) == {
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": system_bundle(),
    }


def test_a_server_without_tls_is_warned_of_once(server, caplog):
    port, _ = server(b"N")
    for _ in range(3):
        assert secured(connection("127.0.0.1", port)).extra_dejson == {}
    (record,) = [each for each in caplog.records if each.name == "cht_sync.postgres.tls"]
    assert record.levelno == logging.WARNING
    assert f"127.0.0.1:{port} offers no TLS" in record.getMessage()
    assert "POSTGRES_SSLMODE=verify-full" in record.getMessage()


@pytest.mark.parametrize("answer", [b"", b"E", b"HTTP/1.1 400"])
def test_what_is_no_postgres_is_neither_trusted_nor_final(server, answer):
    port, _ = server(answer)
    with pytest.raises(StoreError, match=r"did not answer as Postgres does.*'cht_postgres'"):
        secured(connection("127.0.0.1", port))


@pytest.mark.parametrize("host", ["no-such-host.invalid", "x" * 70 + ".org", "a\0b"])
def test_a_server_that_cannot_be_asked(host):
    with pytest.raises(StoreError, match="could not be reached.*POSTGRES_HOST"):
        secured(connection(host))


@pytest.mark.parametrize(
    ("host", "extra"),
    [
        (None, {}),
        ("", {}),
        ("localhost", {}),
        ("LOCALHOST.", {}),
        ("127.0.0.1", {}),
        ("127.8.9.1", {}),
        ("::1", {}),
        ("[::1]", {}),
        ("/var/run/postgresql", {}),
        ("@abstract", {}),
        ("db1,db2", {}),
        ("db", {"service": "cht"}),
    ],
)
def test_nobody_is_asked_where_libpq_alone_knows(monkeypatch, host, extra):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked"))
    assert secured(connection(host, **extra)).extra_dejson == extra


@pytest.mark.parametrize("host", ["db", "localhost.example.org", "10.0.0.1", "::2", "127.example.org", "vm"])
def test_other_machines_are_no_loopback(host):
    assert not is_loopback(host)


def test_what_is_said_is_not_asked(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked"))
    for mode in ("disable", "prefer", "require", "verify-ca"):
        assert secured(connection(sslmode=mode)).extra_dejson == {"sslmode": mode}
    monkeypatch.setenv("PGSSLMODE", "require")
    assert secured(connection()).extra_dejson == {}


def test_verify_full_needs_no_bundle_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/mine.pem")
    assert secured(connection(sslmode="verify-full")).extra_dejson["sslrootcert"] == "/etc/mine.pem"
    assert (
        secured(connection(sslmode="verify-full", sslrootcert="system")).extra_dejson["sslrootcert"] == "/etc/mine.pem"
    )
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").touch()
    assert "sslrootcert" not in secured(connection(sslmode="verify-full")).extra_dejson


@pytest.mark.parametrize("name", ["sslrootcert", "sslcert", "sslkey"])
@pytest.mark.parametrize("value", ["/no/such.pem", "/", 7.5, "a\0b"])
def test_a_wrong_path_is_one_sentence(name, value):
    with pytest.raises(SettingsError) as caught:
        secured(connection(sslmode="require", **{name: value}))
    text = str(caught.value)
    assert f"{name} {value!r} in the extra of connection 'cht_postgres' or in POSTGRES_{name.upper()}" in text
    assert "\n" not in text


def test_an_unknown_mode_is_refused():
    with pytest.raises(SettingsError, match="sslmode 'full' in the extra of connection 'cht_postgres' is unknown"):
        secured(connection(sslmode="full"))
    with pytest.raises(SettingsError, match="POSTGRES_SSLMODE='full' is unknown") as caught:
        Settings({"POSTGRES_SSLMODE": "full"}).check()
    assert caught.value.setting == "POSTGRES_SSLMODE"
    assert Settings({"POSTGRES_SSLMODE": "full"}).usable().postgres_tls == {}


def test_variables_say_what_the_extra_does_not(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHT_POSTGRES", "postgres://r:p@db/d?sslcert=mine.pem")
    settings = Settings({"POSTGRES_SSLMODE": "verify-ca", "POSTGRES_SSLCERT": "x.pem", "POSTGRES_SSLKEY": "x.key"})
    assert postgres_connection(settings).extra_dejson == {"sslcert": "mine.pem", "sslmode": "verify-ca"}
    monkeypatch.delenv("AIRFLOW_CONN_CHT_POSTGRES")
    more = Settings({**settings._environ, "DBT_POSTGRES_SSLCERT": "dbt.pem", "DBT_POSTGRES_SSLKEY": "dbt.key"})
    wanted = {"sslmode": "verify-ca", "sslcert": "x.pem", "sslkey": "x.key"}
    assert postgres_connection(more).extra_dejson.items() >= wanted.items()
    assert dbt_connection(settings).extra_dejson == postgres_connection(settings).extra_dejson
    wanted |= {"sslcert": "dbt.pem", "sslkey": "dbt.key"}
    assert dbt_connection(more).extra_dejson.items() >= wanted.items()
    monkeypatch.setenv("AIRFLOW_CONN_CHT_POSTGRES_DBT", "postgres://r:p@db/d?sslmode=require")
    assert dbt_connection(more).extra_dejson.items() >= {**wanted, "sslmode": "require"}.items()


def test_the_word_system_is_for_dbt_too(monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/mine.pem")
    for find in (postgres_connection, dbt_connection):
        found = find(Settings({"POSTGRES_SSLROOTCERT": "system"})).extra_dejson
        assert (found["sslmode"], found["sslrootcert"]) == ("verify-full", "/etc/mine.pem")


def test_couchdb_has_variables_too():
    settings = Settings(
        {"COUCHDB_CA_BUNDLE": "/ca.pem", "COUCHDB_CLIENT_CERT": "/c.pem", "COUCHDB_CLIENT_KEY": "/c.key"}
    )
    assert settings.couchdb_tls == {"verify": "/ca.pem", "cert": "/c.pem", "key": "/c.key"}
    with pytest.raises(SettingsError, match="set COUCHDB_CLIENT_CERT too"):
        Settings({"COUCHDB_CLIENT_KEY": "/c.key"}).check()


def test_no_server_is_asked_while_a_dag_is_read(monkeypatch):
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("asked"))
    profile_config(Settings({"POSTGRES_HOST": "db.example.org"}))


def test_advice_names_the_role_of_the_models():
    dbt = connection()
    dbt.conn_id = "cht_postgres_dbt"
    assert "DBT_POSTGRES_SSLROOTCERT" in tls_advice(dbt, "SSL error: certificate verify failed")
    assert tls_advice(dbt, "password authentication failed") is None
