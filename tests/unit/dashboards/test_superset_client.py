"""The import against a Superset of few words: what it is sent, and what a person is told when it refuses."""

from __future__ import annotations

import json
import re
import socket

import pytest

from cht_sync.__main__ import main
from cht_sync.dashboards.command import import_dashboards
from cht_sync.dashboards.settings import SupersetSettings
from cht_sync.errors import SettingsError, SupersetError
from tests.unit.scripted_server import Answer, ScriptedServer

PASSWORD, OF_POSTGRES = "ui-pass-1", "db-pass-2"


@pytest.fixture
def superset():
    server = ScriptedServer()
    server.script = [
        Answer(body=b'{"access_token": "tok"}'),
        Answer(body=b'{"result": "csrf"}'),
        Answer(body=b'{"message": "OK"}'),
    ]
    yield server
    server.close()


def environ(port, **more):
    return {
        "SUPERSET_URL": f"http://127.0.0.1:{port}/",
        "SUPERSET_PASSWORD": PASSWORD,
        "SUPERSET_DB_PASSWORD": OF_POSTGRES,
        "POSTGRES_HOST": "db.example.org",
        **more,
    }


def refused(port, kind, **more):
    with pytest.raises(kind) as caught:
        import_dashboards(SupersetSettings(environ(port, **more)))
    text = str(caught.value)
    assert PASSWORD not in text
    assert OF_POSTGRES not in text
    assert "\n" not in text
    return text


def test_an_import_signs_in_and_gives_the_password_apart(superset):
    said = import_dashboards(SupersetSettings(environ(superset.port)))
    assert f"http://127.0.0.1:{superset.port}/superset/dashboard/cht-programme/" in said
    assert "cht_dashboard@db.example.org" in said
    assert [(method, path) for method, path, _ in superset.requests] == [
        ("POST", "/api/v1/security/login"),
        ("GET", "/api/v1/security/csrf_token/"),
        ("POST", "/api/v1/assets/import/"),
    ]
    assert json.loads(superset.bodies[0]) == {
        "username": "admin", "password": PASSWORD, "provider": "db", "refresh": False,
    }  # fmt: skip
    headers = superset.requests[2][2]
    assert headers["Authorization"] == "Bearer tok"
    assert headers["X-CSRFToken"] == "csrf"
    form, archive = superset.bodies[2], re.search(rb"PK\x03\x04.*", superset.bodies[2], re.S)[0]
    assert json.dumps({"databases/cht_sync.yaml": OF_POSTGRES}).encode() in form
    assert OF_POSTGRES.encode() not in archive


@pytest.mark.parametrize(
    ("refusal", "at", "kind", "told"),
    [
        (Answer(401, b'{"message": "Not authorized"}'), 0, SettingsError, "SUPERSET_USER and SUPERSET_PASSWORD"),
        (Answer(404, b"<html>"), 0, SettingsError, "has no /api/v1/security/login"),
        (Answer(302, b"", {"Location": "https://elsewhere.example.org"}), 0, SettingsError, "redirects"),
        (Answer(200, b"<html>Hello</html>"), 0, SupersetError, "is not Superset"),
        (Answer(200, b"[]"), 1, SupersetError, "is not Superset"),
        (Answer(403, b'{"message": "Forbidden"}'), 2, SettingsError, "role Admin"),
        (Answer(404, b'{"message": "Not found"}'), 2, SettingsError, "Superset 4 or newer"),
        (Answer(422, b'{"errors": [{"message": "bad\\nthing db-pass-2", "level": "error"}]}'), 2, SupersetError, "bad thing ***"),
        (Answer(500, b"oops"), 2, SupersetError, "HTTP 500"),
        (Answer(cut=-1), 2, SupersetError, "cannot be reached"),
    ],
)  # fmt: skip
def test_a_refusal_is_one_sentence(superset, refusal, at, kind, told):
    superset.script[at:] = [refusal]
    assert told in refused(superset.port, kind)
    # Nothing is sent on to where a refusal leads.
    assert len(superset.requests) == at + 1


def test_a_superset_that_is_not_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert "cannot be reached" in refused(port, SupersetError)


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"SUPERSET_URL": ""}, "SUPERSET_URL is empty"),
        ({"SUPERSET_URL": "superset.example.org"}, "SUPERSET_URL cannot be used"),
        ({"SUPERSET_URL": f"https://a:{PASSWORD}@host"}, "SUPERSET_URL cannot be used"),
        ({"SUPERSET_URL": "http://host:99999"}, "SUPERSET_URL cannot be used"),
        ({"SUPERSET_PASSWORD": ""}, "SUPERSET_PASSWORD is empty"),
        ({"SUPERSET_DB_PASSWORD": ""}, "SUPERSET_DB_PASSWORD is empty"),
        ({"SUPERSET_DB_PORT": "no"}, "SUPERSET_DB_PORT='no'"),
        ({"SUPERSET_DB_SSLMODE": "always"}, "SUPERSET_DB_SSLMODE='always'"),
        ({"SUPERSET_CA_BUNDLE": "/nowhere/ca.pem"}, "SUPERSET_CA_BUNDLE='/nowhere/ca.pem'"),
    ],
)  # fmt: skip
def test_a_setting_that_cannot_be_used_is_named_before_anything_is_sent(superset, variables, told):
    assert told in refused(superset.port, SettingsError, **variables)
    assert superset.requests == []


def test_settings_of_the_database(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("from a file\n")
    given = {
        "SUPERSET_DB_PASSWORD_FILE": str(secret), "DBT_POSTGRES_HOST": "models.example.org", "POSTGRES_PORT": "5433",
        "DBT_POSTGRES_SCHEMA": "models", "POSTGRES_DB": "data", "SUPERSET_DB_SSLMODE": "verify-full",
        "SUPERSET_DB_SSLROOTCERT": "/ca.pem",
    }  # fmt: skip
    found = SupersetSettings(given).warehouse
    assert (found.host, found.port, found.database, found.schema) == ("models.example.org", 5433, "data", "models")
    assert (found.user, found.password) == ("cht_dashboard", "from a file")
    assert found.tls == {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}
    assert "from a file" not in repr(found)
    elsewhere = SupersetSettings(
        {**given, "SUPERSET_DB_HOST": "other", "SUPERSET_DB_PORT": "6432", "SUPERSET_DB_USER": "bi"}
    )
    assert (elsewhere.warehouse.host, elsewhere.warehouse.port, elsewhere.warehouse.user) == ("other", 6432, "bi")


def test_the_command_tells_what_is_missing(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main(["dashboards"]) == 1
    assert capsys.readouterr().err.startswith("SUPERSET_URL is empty: ")
