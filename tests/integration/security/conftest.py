"""Certificates, and a PostgreSQL behind TLS under a name that does not look like this machine."""

from __future__ import annotations

import socket

import pytest

from cht_sync.postgres import tls
from tests.integration.security.pki import Authority
from tests.integration.security.tls_proxy import TLSProxy

FAR_AWAY = "db.example.org"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki") / "ours", "our CA")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("pki") / "theirs", "their CA")


@pytest.fixture(autouse=True)
def no_variables_of_libpq(monkeypatch, tmp_path):
    """Only what a test says counts; the home has no certificates either."""
    for name in ("PGSSLMODE", "PGSSLROOTCERT", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    tls._warn_once.cache_clear()


@pytest.fixture
def far_away(monkeypatch):
    """Let a host name lead to this machine without a name server, for our probe and, by hostaddr, for libpq."""
    resolve = socket.getaddrinfo

    def found(host, *arguments, **named):
        return resolve("127.0.0.1" if host == FAR_AWAY else host, *arguments, **named)

    monkeypatch.setattr(socket, "getaddrinfo", found)
    # libpq asks the system; this is its variable for it.
    monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
    return FAR_AWAY


@pytest.fixture
def behind_tls(database, postgres_server, monkeypatch, far_away):
    """Make a proxy of the given certificate and let ``POSTGRES_*`` lead through it."""
    made = []

    def make(certificate=None, clients=None):
        made.append(TLSProxy((postgres_server.host, postgres_server.port), certificate, clients))
        monkeypatch.setenv("POSTGRES_HOST", far_away)
        monkeypatch.setenv("POSTGRES_PORT", str(made[-1].port))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()
