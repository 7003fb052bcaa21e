"""TLS as the connections ask for it, against a server whose certificate nobody signed."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.connection import connect
from cht_sync.settings.connections import postgres_connection
from tests.unit.scripted_server import Answer, ScriptedServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning"),
]
PASSWORD = "s3cret pässword"
WELCOME = Answer(body=b'{"couchdb":"Welcome","version":"3.5.0","vendor":{"name":"somebody"}}')
UNAUTHORIZED = Answer(401, b'{"error":"unauthorized","reason":"You are not authorized."}')
SIGNED_IN = Answer(body=b'{"ok":true}', headers={"Set-Cookie": "AuthSession=c00kie; Path=/; Secure; HttpOnly"})


class TLSServer(ScriptedServer):
    """Counts connections too: a handshake that fails is none of the requests."""

    def __init__(self, certificate):
        self.connections = 0
        super().__init__()
        self.script = [WELCOME]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        accept = self._server.get_request

        def counted():
            connection, address = accept()
            self.connections += 1
            # The handshake comes with the first read, in the thread of the connection: accepting must not wait for it.
            return context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False), address

        self._server.get_request = counted


def self_signed(path):
    """A certificate for 127.0.0.1 and its key in one file, which serves as CA bundle too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return str(path)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """That of the server, and another one that does not vouch for it."""
    folder = tmp_path_factory.mktemp("certificates")
    return self_signed(folder / "server.pem"), self_signed(folder / "other.pem")


@pytest.fixture
def certificate(certificates):
    return certificates[0]


@pytest.fixture
def other_certificate(certificates):
    return certificates[1]


@pytest.fixture
def server(certificate, monkeypatch):
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    server = TLSServer(certificate)
    yield server
    server.close()


@pytest.fixture
def hook(server, monkeypatch):
    """Make a hook whose connection has the given extra."""

    def make(**extra):
        fields = {"conn_type": "http", "host": "127.0.0.1", "port": server.port, "schema": "https"}
        account = {"login": "médic", "password": PASSWORD}
        monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps({**fields, **account, "extra": extra}))
        return CouchDBHook()

    return make


def assert_signed_in_by_cookie(server):
    assert [(method, path) for method, path, _headers in server.requests] == [
        ("GET", "/"),
        ("POST", "/_session"),
        ("GET", "/"),
    ]
    assert server.requests[-1][2]["Cookie"] == "AuthSession=c00kie"
    assert not any("Authorization" in headers for _method, _path, headers in server.requests)


@pytest.mark.parametrize("extra", [{}, {"verify": True}, {"verify": "true"}, {"auth": "session"}])
def test_a_certificate_that_nobody_vouches_for_is_refused_at_once(server, hook, extra):
    with pytest.raises(SettingsError) as caught:
        hook(**extra).server()
    text = str(caught.value)
    assert f"https://127.0.0.1:{server.port}" in text
    assert "self-signed certificate" in text
    assert "'verify'" in text
    assert "'cht_couchdb'" in text
    assert "\n" not in text
    assert PASSWORD not in text
    assert server.requests == []
    assert server.connections == 1


def test_the_bundle_of_somebody_else_does_not_help(server, hook, other_certificate):
    with pytest.raises(SettingsError, match=r"not trusted .*'verify'"):
        hook(verify=other_certificate).server()
    assert (server.requests, server.connections) == ([], 1)


def test_a_bundle_that_does_not_exist_is_named(server, hook, tmp_path):
    with pytest.raises(SettingsError) as caught:
        hook(verify=str(tmp_path / "gone.pem")).server()
    assert "gone.pem" in str(caught.value)
    assert "'cht_couchdb'" in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize("bundle_of_environment", [False, True])
@pytest.mark.parametrize("verify", ["path", False, "false"])
def test_what_verify_says_is_what_counts(
    server, hook, certificate, other_certificate, monkeypatch, verify, bundle_of_environment
):
    if bundle_of_environment:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", other_certificate)
    assert hook(verify=certificate if verify == "path" else verify).server().version == "3.5.0"
    assert len(server.requests) == 1
    assert server.requests[0][2]["Authorization"].startswith("Basic ")


@pytest.mark.parametrize("bundle_of_environment", [False, True])
@pytest.mark.parametrize("verify", ["path", False])
def test_signing_in_by_cookie_obeys_verify_too(
    server, hook, certificate, other_certificate, monkeypatch, verify, bundle_of_environment
):
    if bundle_of_environment:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", other_certificate)
    server.script = [UNAUTHORIZED, SIGNED_IN, WELCOME]
    extra = {"auth": "session", "verify": certificate if verify == "path" else verify}
    assert hook(**extra).server().version == "3.5.0"
    assert_signed_in_by_cookie(server)


@pytest.mark.parametrize("auth", ["basic", "session"])
def test_the_bundle_of_the_environment_counts_where_verify_says_nothing(server, hook, certificate, monkeypatch, auth):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
    if auth == "session":
        server.script = [UNAUTHORIZED, SIGNED_IN, WELCOME]
    assert hook(auth=auth).server().version == "3.5.0"
    if auth == "session":
        assert_signed_in_by_cookie(server)


@pytest.fixture
def postgres_with_sslmode(database, postgres_server, monkeypatch):
    """Make a connection of Airflow with the given ``sslmode``; the server speaks no TLS."""

    def make(sslmode):
        fields = {"conn_type": "postgres", "host": postgres_server.host, "port": postgres_server.port}
        account = {"login": postgres_server.user, "password": postgres_server.password, "schema": database.name}
        monkeypatch.setenv(
            "AIRFLOW_CONN_CHT_POSTGRES", json.dumps({**fields, **account, "extra": {"sslmode": sslmode}})
        )
        return postgres_connection()

    return make


def test_postgres_without_tls_is_refused_where_tls_is_required(postgres_with_sslmode, postgres_server, database):
    with pytest.raises((SettingsError, StoreError)) as caught:
        connect(postgres_with_sslmode("require"), "test").close()
    text = str(caught.value)
    assert "SSL" in text
    assert "'cht_postgres'" in text
    assert f"{postgres_server.host}:{postgres_server.port}/{database.name}" in text
    assert "\n" not in text
    assert postgres_server.password not in text


def test_postgres_without_tls_is_taken_where_tls_is_only_preferred(postgres_with_sslmode):
    connect(postgres_with_sslmode("prefer"), "test").close()
