import json

import pytest
import yaml
from airflow.sdk import Connection
from jinja2 import Environment

from cht_sync.dbt.launch import profile
from cht_sync.dbt.launch.profile import PROFILE, TARGET, models_environment, profile_config, profile_text
from cht_sync.settings.settings import REPOSITORY, Settings


@pytest.fixture
def connection(monkeypatch):
    extra = {"sslmode": "verify-full", "sslrootcert": "/ca.pem", "connect_timeout": 5, "options": "-c x=y"}
    found = Connection(
        conn_id="x",
        conn_type="postgres",
        host="db",
        login="dbt",
        password="s3cret-word",
        schema="raw_db",
        port=6432,
        extra=json.dumps(extra),
    )
    monkeypatch.setattr(profile, "dbt_connection", lambda *_: found)
    monkeypatch.setattr(profile, "postgres_connection", lambda *_: found)
    return found


def test_the_profile_holds_everything_but_the_password(connection):
    mapping = profile_config(Settings({"DBT_POSTGRES_SCHEMA": "models", "DBT_THREAD_COUNT": "3"})).profile_mapping
    text = mapping.get_profile_file_contents(PROFILE, TARGET)
    output = yaml.safe_load(text)[PROFILE]["outputs"][TARGET]
    assert output.pop("password") == "{{ env_var('COSMOS_CONN_POSTGRES_PASSWORD') }}"
    assert output == {
        "type": "postgres",
        "host": "db",
        "port": 6432,
        "user": "dbt",
        "dbname": "raw_db",
        "schema": "models",
        "threads": 3,
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
        "connect_timeout": 5,
    }
    assert mapping.env_vars == {"COSMOS_CONN_POSTGRES_PASSWORD": "s3cret-word"}
    assert "s3cret-word" not in text


def test_no_password_is_no_error(connection):
    connection.password = None
    assert profile_config(Settings({})).profile_mapping.env_vars == {"COSMOS_CONN_POSTGRES_PASSWORD": ""}


def test_projects_are_parsed_with_the_profile_of_the_tasks(connection):
    mapping = profile_config(Settings({})).profile_mapping
    assert profile_text(Settings({})) == mapping.get_profile_file_contents(PROFILE, TARGET)


def test_models_read_the_database_of_the_connection(connection, monkeypatch):
    monkeypatch.setattr("cht_sync.dbt.launch.profile.models_zone", lambda settings: "Africa/Nairobi")
    variables = models_environment(Settings({"POSTGRES_SCHEMA": "raw", "POSTGRES_TABLE": "docs"}))
    assert variables["POSTGRES_DB"] == "raw_db"
    assert (variables["POSTGRES_SCHEMA"], variables["POSTGRES_TABLE"]) == ("raw", "docs")
    assert variables["ROOT_POSTGRES_SCHEMA"] == "raw"
    assert variables["DO_NOT_TRACK"] == "1"
    assert variables["PGTZ"] == "Africa/Nairobi"


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("prefer", "", "", "")),
        ({"PGSSLMODE": "require"}, ("require", "", "", "")),
        ({"POSTGRES_SSLMODE": "verify-ca", "PGSSLMODE": "require"}, ("verify-ca", "", "", "")),
        ({"POSTGRES_SSLROOTCERT": "/ca"}, ("verify-full", "/ca", "", "")),
        ({"POSTGRES_SSLCERT": "/c", "POSTGRES_SSLKEY": "/k"}, ("prefer", "", "/c", "/k")),
        ({"POSTGRES_SSLCERT": "/c", "POSTGRES_SSLKEY": "/k", "DBT_POSTGRES_SSLCERT": "/d"}, ("prefer", "", "/d", "")),
        (
            {"POSTGRES_SSLMODE": "require", "DBT_POSTGRES_SSLMODE": "verify-full", "DBT_POSTGRES_SSLROOTCERT": "/o"},
            ("verify-full", "/o", "", ""),
        ),
    ],
)
def test_dbt_on_the_command_line_reads_the_same_variables(environ, expected):
    profiles = yaml.safe_load((REPOSITORY / "include" / "dbt" / "profiles.yml").read_text())
    jinja = Environment()
    jinja.globals["env_var"] = environ.get
    output = profiles["cht_sync"]["outputs"]["default"]
    names = ("sslmode", "sslrootcert", "sslcert", "sslkey")
    assert tuple(jinja.from_string(output[name]).render() for name in names) == expected
