"""Passwords are nowhere: not in logs, errors, results, rendered fields, files or the arguments of a process."""

from __future__ import annotations

import base64
import json
import os
from urllib.parse import quote, quote_plus, urlsplit

import pytest
import requests
from airflow.sdk.log import redact
from psycopg2 import sql

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.dbt.deploy.install import install
from cht_sync.errors import SettingsError
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.postgres.connection import describe
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from tests.integration.dbt.conftest import write_project
from tests.integration.dbt.project.test_private_repository import ArgumentWatch
from tests.integration.security.starter import failures, invoke_models
from tests.servers import mine

pytestmark = pytest.mark.integration

SECRET = "s3cr/t+w örd'\"%s@:{{ 7*7 }}\\"
COUCH_USER = mine("spy")


def forms(secret):
    """How a secret may be written."""
    yield secret
    yield quote(secret)
    yield quote(secret, safe="")
    yield quote_plus(secret)
    yield repr(secret)[1:-1]
    yield json.dumps(secret)[1:-1]
    yield base64.b64encode(f"{COUCH_USER}:{secret}".encode()).decode()
    yield base64.b64encode(secret.encode()).decode()


def holds_secret(text):
    return [form for form in forms(SECRET) if form in text]


@pytest.fixture
def role(database, postgres_server, monkeypatch):
    """A role whose password is the secret, for the sync and for dbt."""
    name = f"spy_{database.name}"
    database.rows(
        sql.SQL("create role {} superuser login password {}").format(sql.Identifier(name), sql.Literal(SECRET))
    )
    monkeypatch.setenv("POSTGRES_USER", name)
    monkeypatch.setenv("POSTGRES_PASSWORD", SECRET)
    return name


@pytest.fixture
def couch(couchdb_server, monkeypatch):
    """A CouchDB database that a user may read whose password is the secret; gives its name."""
    url, auth = couchdb_server.url, couchdb_server.auth
    user = {
        "_id": f"org.couchdb.user:{COUCH_USER}",
        "type": "user",
        "name": COUCH_USER,
        "password": SECRET,
        "roles": [],
    }
    account, name = f"{url}/_users/{user['_id']}", mine("secrets")
    made = requests.put(account, json=user, auth=auth, timeout=10)
    requests.put(f"{url}/{name}", auth=auth, timeout=10)
    requests.put(
        f"{url}/{name}/_security", json={"members": {"names": [COUCH_USER]}, "admins": {}}, auth=auth, timeout=10
    )
    requests.put(f"{url}/{name}/p", json={"type": "person", "name": "A"}, auth=auth, timeout=10)
    for variable, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(urlsplit(url).port),
        "COUCHDB_USER": COUCH_USER,
        "COUCHDB_PASSWORD": SECRET,
    }.items():
        monkeypatch.setenv(variable, value)
    yield name
    requests.delete(account, params={"rev": made.json()["rev"]}, auth=auth, timeout=10)
    requests.delete(f"{url}/{name}", auth=auth, timeout=10)


@pytest.mark.parametrize("through", ["variables", "connections"])
def test_a_run_that_works_shows_no_password(
    through, role, couch, database, postgres_server, tmp_path, monkeypatch, caplog, capfd
):
    caplog.set_level("DEBUG")
    if through == "connections":
        host, password = postgres_server.host, quote(SECRET, safe="")
        address = f"{host}:{postgres_server.port}/{database.name}"
        monkeypatch.setenv("AIRFLOW_CONN_CHT_POSTGRES", f"postgres://{role}:{password}@{address}")
        monkeypatch.setenv(
            "AIRFLOW_CONN_CHT_COUCHDB", f"http://{COUCH_USER}:{password}@127.0.0.1:{os.environ['COUCHDB_PORT']}"
        )
        for name in ("POSTGRES_PASSWORD", "COUCHDB_PASSWORD"):
            monkeypatch.setenv(name, "not this one")
    operator = CouchDBToPostgresOperator(task_id="sync", database=couch)
    operator.render_template_fields({})
    summary = operator.execute({})
    assert summary["documents"] >= 1
    result = invoke_models(tmp_path, "v1")
    assert result.success, failures(result)
    rendered = {name: getattr(operator, name) for name in operator.template_fields}
    names = database.rows("select distinct application_name from pg_stat_activity where datname = current_database()")
    shown = json.dumps([summary, rendered, names], default=str) + caplog.text + "".join(capfd.readouterr())
    assert holds_secret(shown) == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert [path for path in files if holds_secret(path.read_bytes().decode("utf-8", "replace"))] == []
    assert holds_secret(describe(postgres_connection()) + repr(CouchDBHook()) + repr(Settings().postgres)) == []
    # Airflow masks it wherever else it comes up in a log.
    assert holds_secret(redact(f"the password is {SECRET} indeed")) == []


def test_refused_passwords_are_not_told(role, couch, database, postgres_server, tmp_path, monkeypatch, caplog, capfd):
    caplog.set_level("DEBUG")
    # With these the servers refuse the secret.
    for wrong in ({"COUCHDB_USER": mine("nobody")}, {"POSTGRES_USER": postgres_server.user}):
        with monkeypatch.context() as patch:
            for name, value in wrong.items():
                patch.setenv(name, value)
            with pytest.raises(SettingsError) as caught:
                CouchDBToPostgresOperator(task_id="sync", database=couch).execute({})
            assert holds_secret(str(caught.value)) == []
            assert caught.value.__cause__ is None
            assert "\n" not in str(caught.value)
            passed, said = CouchDBHook().test_connection()
            assert passed == ("COUCHDB_USER" not in wrong)
            assert holds_secret(said) == []
    monkeypatch.setenv("POSTGRES_USER", postgres_server.user)
    with pytest.raises(SettingsError, match="password authentication failed") as caught:
        invoke_models(tmp_path, "v1")
    assert holds_secret(str(caught.value)) == []
    # Nor does dbt tell it where nobody has asked before.
    monkeypatch.setattr("cht_sync.dbt.launch.profile.models_zone", lambda settings: "UTC")
    result = invoke_models(tmp_path, "v1")
    assert not result.success
    assert "password authentication failed" in failures(result)
    assert holds_secret(failures(result) + caplog.text + "".join(capfd.readouterr())) == []


def test_no_process_has_it_among_its_arguments(role, tmp_path, monkeypatch, capfd, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("DBT_PACKAGE_HUB_URL", "http://127.0.0.1:9/")
    project = write_project(tmp_path / "little")
    settings = Settings({**os.environ, "CHT_PIPELINE_DIR": str(tmp_path / "p"), "DBT_LOCAL_PATH": str(project)})
    watch = ArgumentWatch()
    watch.start()
    made = install(settings)
    seen = watch.stop()
    assert any("dbt.cli.main" in line for line in seen)
    assert [line for line in seen if holds_secret(line)] == []
    assert made.models == 2
    files = [path for path in (tmp_path / "p").rglob("*") if path.is_file()]
    assert [path for path in files if holds_secret(path.read_bytes().decode("utf-8", "replace"))] == []
    assert holds_secret(caplog.text + "".join(capfd.readouterr())) == []
