"""TLS of a real PostgreSQL with ``ssl = on``, where this machine has one that was built with OpenSSL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from cht_sync.errors import SettingsError
from cht_sync.postgres.connection import connect
from cht_sync.settings.connections import postgres_connection
from include.demo.account import Account
from tests.integration.security.conftest import FAR_AWAY
from tests.integration.security.starter import run_models

pytestmark = pytest.mark.integration
PASSWORD = "s3cret-wörd"
HBA = """
hostssl all postgres 127.0.0.1/32 scram-sha-256
hostssl all strict   127.0.0.1/32 scram-sha-256 clientcert=verify-full
hostssl all certonly 127.0.0.1/32 cert
"""


def programs() -> Path | None:
    """Where a server is that was built with OpenSSL; the one in the wheel is not."""
    for config in sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_config"), reverse=True):
        said = subprocess.run([config, "--configure"], capture_output=True, text=True, check=False).stdout
        if "openssl" in said and (config.parent / "initdb").exists():
            return config.parent
    return None


@pytest.fixture(scope="module")
def own_tls(authority):
    """Port of a server whose certificate, for `FAR_AWAY`, the authority of the module has signed."""
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL with OpenSSL on this machine")
    account = Account.needed()
    identity = {"user": account.uid, "group": account.gid, "extra_groups": []} if account else {}
    folder = Path(tempfile.mkdtemp(prefix="cht-sync-tls-"))
    data = folder / "pg"
    certificate, key = authority.issue("server", FAR_AWAY)
    (folder / "password").write_text(PASSWORD)
    for name, source in {"server.pem": certificate, "server.key": key, "ca.pem": authority.path}.items():
        shutil.copy(source, folder / name)
        (folder / name).chmod(0o600)
    if account:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, account.uid, account.gid)
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    subprocess.run(
        [found / "initdb", "-D", data, "-U", "postgres", f"--pwfile={folder}/password", "-A", "scram-sha-256", "-N"],
        check=True,
        capture_output=True,
        **identity,
    )
    (data / "pg_hba.conf").write_text(HBA)
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "ssl": "on",
        "ssl_cert_file": f"{folder}/server.pem",
        "ssl_key_file": f"{folder}/server.key",
        "ssl_ca_file": f"{folder}/ca.pem",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server = subprocess.Popen(
        [found / "postgres", "-D", data, "-p", str(port), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        **identity,
    )
    try:
        with closing(wait_for(port)) as conn:
            conn.autocommit = True
            with conn.cursor() as cursor:
                for role in ("strict", "certonly"):
                    cursor.execute(f"create role {role} superuser login password %s", (PASSWORD,))
        yield port
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def wait_for(port):
    for _ in range(200):
        try:
            return psycopg2.connect(
                host="127.0.0.1", port=port, user="postgres", password=PASSWORD, sslmode="require", dbname="postgres"
            )
        except psycopg2.OperationalError:
            time.sleep(0.1)
    raise AssertionError("PostgreSQL did not come up")


@pytest.fixture
def real(own_tls, far_away, authority, monkeypatch):
    for name, value in {
        "POSTGRES_HOST": far_away,
        "POSTGRES_PORT": str(own_tls),
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": PASSWORD,
        "POSTGRES_DB": "postgres",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", authority.path)


def tls_in_use():
    with closing(connect(postgres_connection(), "test")) as conn, conn, conn.cursor() as cursor:
        cursor.execute("select ssl, current_user from pg_stat_ssl where pid = pg_backend_pid()")
        return cursor.fetchone()


def refused(*said):
    with pytest.raises(SettingsError) as caught:
        tls_in_use()
    text = str(caught.value)
    for each in said:
        assert each in text
    assert "\n" not in text
    assert PASSWORD not in text


def test_verified_by_default(real, stranger, monkeypatch):
    assert tls_in_use() == (True, "postgres")
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", stranger.path)
    refused("certificate verify failed", "POSTGRES_SSLROOTCERT")
    # The CAs of this machine do not know it either.
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", "")
    refused("certificate verify failed", "POSTGRES_SSLMODE=require")
    monkeypatch.setenv("POSTGRES_SSLMODE", "require")
    assert tls_in_use() == (True, "postgres")


def test_a_wrong_password_is_told_as_one(real, monkeypatch):
    monkeypatch.setenv("POSTGRES_PASSWORD", "wr0ng")
    refused("password authentication failed", "_PASSWORD")


@pytest.mark.parametrize("role", ["strict", "certonly"])
def test_a_client_certificate_that_pg_hba_demands(real, authority, stranger, monkeypatch, role):
    monkeypatch.setenv("POSTGRES_USER", role)
    if role == "certonly":
        monkeypatch.setenv("POSTGRES_PASSWORD", "not asked for")
    refused("valid client certificate", "set sslcert and sslkey", "POSTGRES_SSLCERT")
    for issuer, name in ((stranger, role), (authority, "somebody"), (authority, role)):
        certificate, key = issuer.issue(name)
        monkeypatch.setenv("POSTGRES_SSLCERT", certificate)
        monkeypatch.setenv("POSTGRES_SSLKEY", key)
        if (issuer, name) != (authority, role):
            refused()
    assert tls_in_use() == (True, role)


def test_dbt_with_a_certificate_of_its_own(real, authority, tmp_path, monkeypatch):
    certificate, key = authority.issue("certonly")
    monkeypatch.setenv("DBT_POSTGRES_USER", "certonly")
    monkeypatch.setenv("DBT_POSTGRES_SSLCERT", certificate)
    monkeypatch.setenv("DBT_POSTGRES_SSLKEY", key)
    with closing(connect(postgres_connection(), "test")) as conn, conn, conn.cursor() as cursor:
        cursor.execute("create schema if not exists v1")
        cursor.execute(
            "create table v1.couchdb (saved_timestamp timestamp, _id varchar primary key, _deleted boolean,"
            " source varchar, doc jsonb)"
        )
    run_models(tmp_path, "v1")
    assert os.environ["DBT_POSTGRES_SSLKEY"] == key
