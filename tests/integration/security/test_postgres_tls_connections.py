"""TLS to Postgres as connections and variables ask for it, for the sync and for dbt."""

from __future__ import annotations

import json
from contextlib import closing

import pytest

from cht_sync.errors import SettingsError
from cht_sync.postgres import tls
from cht_sync.postgres.connection import connect
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of
from tests.integration.security.conftest import FAR_AWAY
from tests.integration.security.starter import failures, invoke_models, run_models

pytestmark = pytest.mark.integration


def answer():
    with closing(connect(postgres_connection(), "test")) as conn, conn, conn.cursor() as cursor:
        cursor.execute("select 1")
        return cursor.fetchone()[0]


def refused(*said):
    with pytest.raises(SettingsError) as caught:
        answer()
    text = str(caught.value)
    for each in said:
        assert each in text
    assert "\n" not in text
    return text


def test_a_certificate_of_a_trusted_authority_is_taken_without_any_setting(behind_tls, authority, monkeypatch):
    proxy = behind_tls(authority.issue("server", FAR_AWAY))
    monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    assert answer() == 1
    assert (proxy.encrypted, proxy.plain) == (1, 0)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    behind_tls, authority, stranger, monkeypatch, postgres_server
):
    proxy = behind_tls(stranger.issue("server", FAR_AWAY))
    text = refused("certificate verify failed", "set sslrootcert", "'cht_postgres'", "POSTGRES_SSLROOTCERT")
    assert "POSTGRES_SSLMODE=require to encrypt without checking whom you talk to" in text
    assert postgres_server.password not in text
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", authority.path)
    refused("certificate verify failed")
    assert (proxy.encrypted, proxy.plain) == (0, 0)
    # Either remedy of the sentence helps.
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", stranger.path)
    assert answer() == 1
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", "")
    monkeypatch.setenv("POSTGRES_SSLMODE", "require")
    assert answer() == 1
    assert (proxy.encrypted, proxy.plain) == (2, 0)


def test_the_certificate_of_another_host_is_refused(behind_tls, authority, monkeypatch):
    behind_tls(authority.issue("elsewhere", "elsewhere.example.org"))
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", authority.path)
    refused(FAR_AWAY, "does not match host name", "POSTGRES_SSLMODE to verify-ca")
    monkeypatch.setenv("POSTGRES_SSLMODE", "verify-ca")
    assert answer() == 1


def test_a_server_that_demands_a_certificate(behind_tls, authority, stranger, monkeypatch):
    proxy = behind_tls(authority.issue("server", FAR_AWAY), clients=authority.path)
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", authority.path)
    refused("set sslcert and sslkey", "POSTGRES_SSLCERT")
    for issuer in (stranger, authority):
        certificate, key = issuer.issue("sync")
        monkeypatch.setenv("POSTGRES_SSLCERT", certificate)
        monkeypatch.setenv("POSTGRES_SSLKEY", key)
        if issuer is stranger:
            refused("POSTGRES_SSLCERT", "vouches for")
    assert answer() == 1
    assert proxy.plain == 0


def test_a_key_that_others_may_read_is_refused(behind_tls, authority, monkeypatch):
    behind_tls(authority.issue("server", FAR_AWAY), clients=authority.path)
    certificate, key = authority.issue("open")
    (authority.folder / "open.key").chmod(0o644)
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", authority.path)
    monkeypatch.setenv("POSTGRES_SSLCERT", certificate)
    monkeypatch.setenv("POSTGRES_SSLKEY", key)
    refused("private key file", "correct sslkey", "POSTGRES_SSLKEY")


def test_wrong_paths_are_told_before_anybody_is_asked(behind_tls, authority, monkeypatch):
    proxy = behind_tls(authority.issue("server", FAR_AWAY))
    for name in ("SSLROOTCERT", "SSLCERT", "SSLKEY"):
        with monkeypatch.context() as patch:
            patch.setenv(f"POSTGRES_{name}", "/no/such.pem")
            refused(f"{name.lower()} '/no/such.pem'", f"POSTGRES_{name}", "No such file")
    assert (proxy.encrypted, proxy.plain) == (0, 0)


def test_a_server_without_tls_is_used_with_one_warning(behind_tls, caplog):
    proxy = behind_tls()
    assert answer() == answer() == 1
    assert (proxy.encrypted, proxy.plain) == (0, 2)
    (warning,) = [each.getMessage() for each in caplog.records if "offers no TLS" in each.getMessage()]
    assert FAR_AWAY in warning
    assert "POSTGRES_SSLMODE=verify-full" in warning


def test_where_tls_is_demanded_a_server_without_it_is_refused(behind_tls, monkeypatch):
    proxy = behind_tls()
    monkeypatch.setenv("POSTGRES_SSLMODE", "verify-full")
    refused("does not support SSL", "POSTGRES_SSLMODE to prefer")
    assert proxy.plain == 0


def test_this_machine_is_not_asked(database, postgres_server, monkeypatch, caplog):
    monkeypatch.setattr(tls, "_offers_tls", lambda _: pytest.fail("asked"))
    for host in ("127.0.0.1", "localhost"):
        monkeypatch.setenv("POSTGRES_HOST", host)
        assert answer() == 1
    assert "TLS" not in caplog.text


def test_the_extra_of_a_connection(behind_tls, authority, database, postgres_server, monkeypatch):
    proxy = behind_tls(authority.issue("server", FAR_AWAY), clients=authority.path)
    certificate, key = authority.issue("sync")
    extra = {"sslmode": "verify-full", "sslrootcert": authority.path, "sslcert": certificate, "sslkey": key}
    fields = {"conn_type": "postgres", "host": FAR_AWAY, "port": proxy.port, "schema": database.name, "extra": extra}
    account = {"login": postgres_server.user, "password": postgres_server.password}
    monkeypatch.setenv("AIRFLOW_CONN_CHT_POSTGRES", json.dumps({**fields, **account}))
    # What the extra says comes first.
    monkeypatch.setenv("POSTGRES_SSLMODE", "disable")
    monkeypatch.setenv("POSTGRES_SSLROOTCERT", "/no/such.pem")
    assert answer() == 1
    with closing(connect(dbt_connection(), "test")):
        pass
    assert (proxy.encrypted, proxy.plain) == (2, 0)


@pytest.mark.parametrize("said", ["nothing", "variables"])
def test_sync_and_dbt_go_through_tls(behind_tls, authority, tmp_path, monkeypatch, said):
    proxy = behind_tls(authority.issue("server", FAR_AWAY))
    if said == "nothing":
        monkeypatch.setenv("SSL_CERT_FILE", authority.path)
    else:
        monkeypatch.setenv("POSTGRES_SSLMODE", "verify-full")
        monkeypatch.setenv("POSTGRES_SSLROOTCERT", authority.path)
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        store.claim("s")
        store.save("s", page_of({"_id": "p", "type": "person", "name": "A"}), None)
    before = proxy.encrypted
    run_models(tmp_path, "v1")
    assert proxy.encrypted > before
    assert proxy.plain == 0


def test_dbt_refuses_a_certificate_that_nobody_vouches_for(behind_tls, stranger, tmp_path, monkeypatch):
    proxy = behind_tls(stranger.issue("server", FAR_AWAY))
    with pytest.raises(SettingsError, match="certificate verify failed"):
        invoke_models(tmp_path, "v1")
    # Nor does dbt where nobody has asked before.
    monkeypatch.setattr("cht_sync.dbt.launch.profile.models_zone", lambda settings: "UTC")
    result = invoke_models(tmp_path, "v1")
    assert not result.success
    assert "certificate verify failed" in failures(result)
    assert (proxy.encrypted, proxy.plain) == (0, 0)
