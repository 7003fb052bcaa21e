"""A dbt project that nobody has approved reads what it can of the worker's variables, by each way that dbt runs."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from include.demo.fill import fill
from include.demo.pouchdb import PouchDBServer
from tests.e2e.test_dags_test import Deployment
from tests.servers import mine

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
CANARY = "canary-7d1f"
FERNET = base64.urlsafe_b64encode(f"{CANARY:x<32}".encode()).decode()
SECRETS = {
    "AIRFLOW_CONN_SPIED": f"http://user:{CANARY}@example.org",
    "AIRFLOW__CORE__FERNET_KEY": FERNET,
    "AIRFLOW__SMTP__SMTP_PASSWORD": CANARY,
    "AIRFLOW__API__SECRET_KEY": f"{CANARY}-and-enough-to-be-a-key-of-airflow-s",
    "AWS_SECRET_ACCESS_KEY": CANARY,
    "CHT_METRICS_TOKEN": CANARY,
    "CHT_PIPELINE_TOKEN": CANARY,
    "DBT_ENV_SECRET_OF_PACKAGES": CANARY,
    "GIT_CONFIG_VALUE_9": CANARY,
    "SUPERSET_PASSWORD": CANARY,
}
# These are real.
PASSWORDS = ["COUCHDB_PASSWORD", "POSTGRES_PASSWORD"]
ASKED = [*(name for name in SECRETS if not name.startswith("DBT_ENV_SECRET")), *PASSWORDS]
GIVEN = {"POSTGRES_TABLE": "couchdb", "REGION": "north"}

SPY = "{% macro spied(name) %}{{ return(env_var(name, 'nothing')) }}{% endmacro %}"
SELECT = (
    "{{ config(materialized='table') }}\n"
    + " union all ".join(f"select '{name}' as name, '{{{{ spied('{name}') }}}}' as value" for name in [*ASKED, *GIVEN])
    + " -- {{ ref('before') }}"
)
FILES = {
    "dbt_project.yml": "name: spy\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\n"
    "vars: {seen: \"{{ env_var('COUCHDB_PASSWORD', 'nothing') }}\"}\n",
    "macros/spied.sql": SPY,
    "models/before.sql": "{{ config(materialized='table', post_hook=\"create table if not exists v1.hooked as select"
    " '{{ env_var('COUCHDB_PASSWORD', 'nothing') }}'::text as value\") }}"
    " select _id as uuid, saved_timestamp from {{ source('raw', 'couchdb') }}",
    "models/spy.sql": SELECT,
    "models/spy.yml": "sources: [{name: raw, schema: v1, tables: [{name: couchdb}]}]\nmodels:\n  - name: spy\n"
    "    description: \"{{ env_var('COUCHDB_PASSWORD', 'nothing') }} {{ env_var('AIRFLOW__API__SECRET_KEY', 'nothing') }}\"\n",
    "tests/spied.sql": "select * from {{ ref('spy') }} where false"
    + "".join(f" or '{{{{ env_var('{name}', 'nothing') }}}}' <> 'nothing'" for name in ASKED),
}


class EnvironmentWatch(threading.Thread):
    """Looks at what the processes of dbt began with, again and again."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen: dict[str, dict[str, str]] = {}
        self._over = threading.Event()

    def run(self):
        while not self._over.wait(0.05):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    line = " ".join(process.cmdline())
                    if any(
                        mark in line for mark in ("cht_sync.dbt.subprocess", "dbt.cli.main", "subprocess/checks.py")
                    ):
                        self.seen[line] = process.environ()

    def stop(self):
        self._over.set()
        self.join()
        return self.seen


@pytest.fixture(scope="module")
def attack(server_folder, postgres_server):
    """What every way of running dbt has left, and what its processes began with."""
    project = server_folder / "spy"
    for name, text in FILES.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    database = mine("cht_spy")
    postgres_server.create_database(database)
    with PouchDBServer(server_folder / "spycouch") as couchdb:
        fill(couchdb.url, couchdb.auth, 100)
        folder = server_folder / "spy-airflow"
        folder.mkdir()
        deployment = Deployment(folder, couchdb, postgres_server)
        deployment.settings["POSTGRES_DB"] = database
        deployment.environment |= {
            "POSTGRES_DB": database,
            "DBT_LOCAL_PATH": str(project),
            "CHT_DBT_ENV_REGION": "north",
            **SECRETS,
        }
        code, text = deployment.airflow("db", "migrate")
        assert code == 0, text
        watch = EnvironmentWatch()
        watch.start()
        output = []
        for dag in ("cht_pipeline_deploy", "cht_sync", "cht_pipeline_deploy", "cht_data_tests"):
            code, text = deployment.airflow("dags", "test", dag)
            assert code == 0, text
            output.append(text)
            if dag == "cht_sync":
                deployment.of_a_run = deployment.rows("select name, value from v1.spy")
                # The next deployment builds it anew.
                (project / "models/spy.sql").write_text(f"{SELECT} and again")
        yield deployment, watch.stop(), "".join(output)


def test_each_way_was_taken(attack):
    deployment, seen, output = attack
    for part in ("subprocess.runs", "subprocess.rebuild", "checks.py", "dbt.cli.main"):
        assert any(part in line for line in seen), part
    assert "The documentation is in" in output
    assert deployment.rows("select status from v1.couchdb_test_result where test like '%%spied%%'") == [("pass",)]


def test_models_see_what_the_team_gives_and_nothing_else(attack):
    deployment, _, _ = attack
    rebuilt = deployment.rows("select name, value from v1.spy")
    for found in (deployment.of_a_run, rebuilt):
        assert dict(found) == {**dict.fromkeys(ASKED, "nothing"), **GIVEN}
    assert deployment.rows("select value from v1.hooked") == [("nothing",)]


def test_no_process_of_dbt_begins_with_a_secret(attack):
    deployment, seen, _ = attack
    real = {deployment.settings["COUCHDB_PASSWORD"]}
    for line, environ in seen.items():
        values = {name: value for name, value in environ.items() if CANARY in value or value in {FERNET, *real}}
        # dbt itself keeps what begins so from all but packages.yml.
        if line.endswith("deps") or " deps " in line:
            values.pop("DBT_ENV_SECRET_OF_PACKAGES", None)
        assert values == {}, line
        assert not [name for name in environ if name.startswith(("AIRFLOW", "COUCHDB", "CHT_")) and "CTX" not in name]


def test_nothing_that_is_left_holds_a_secret(attack):
    deployment, _, output = attack
    home = Path(deployment.environment["AIRFLOW_HOME"])
    secrets = [CANARY, FERNET, deployment.settings["COUCHDB_PASSWORD"]]
    versions = [path for path in (home / "cht_pipeline").rglob("*") if path.is_file()]
    assert any(path.name == "manifest.json" for path in versions)
    assert any(path.parent.name == "docs" for path in versions)
    for path in versions:
        content = path.read_bytes()
        assert not [secret for secret in secrets if secret.encode() in content], path
    assert not [secret for secret in secrets if secret in output]
    (manifest,) = deployment.rows("select manifest from v1._dataemon order by inserted_on desc limit 1")
    assert not [secret for secret in secrets if secret in json.dumps(manifest)]
