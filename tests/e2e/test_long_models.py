"""A real Airflow whose models take longer than a run may, and whose dbt is killed."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import psutil
import psycopg2
import pytest
import requests

from cht_sync.pipeline.install import install
from cht_sync.settings import Settings
from include.demo.airflow import AirflowServices
from include.demo.client import DONE, AirflowClient
from tests.servers import mine
from tests.small_project import write_small_project

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
DATABASE, METADATA, COUCHDB = mine("cht_long"), mine("cht_long_airflow"), mine("long")
SLOW = (
    "{{ config(materialized='table') }} select uuid, pg_sleep(seconds)::text as a from {{ ref('person') }}, public.pace"
)
ALL_ARE_MODELLED = """
select _id from {{ env_var('POSTGRES_SCHEMA') }}.{{ env_var('POSTGRES_TABLE') }}
where doc->>'type' = 'person' and _id not in (select uuid from {{ ref('person') }})
"""
AT_WORK = "select client_port from pg_stat_activity where application_name = 'cht_sync dbt v1' and state = 'active'"


class Long:
    """The deployment: a model takes as long as a table says."""

    def __init__(self, folder, couchdb, postgres):
        self.dsn, self.couchdb = postgres.dsn(DATABASE), couchdb
        late = "{{ config(materialized='table') }} select * from {{ ref('slow') }}"
        project = write_small_project(folder / "small", {"models/slow.sql": SLOW, "models/late.sql": late})
        (project / "models" / "models.yml").unlink()
        (project / "tests" / "name_is_a_number.sql").unlink()
        (project / "tests" / "all_are_modelled.sql").write_text(ALL_ARE_MODELLED)
        self.settings = {
            "COUCHDB_HOST": couchdb.host,
            "COUCHDB_PORT": str(couchdb.port),
            "COUCHDB_USER": couchdb.user,
            "COUCHDB_PASSWORD": couchdb.password,
            "COUCHDB_DBS": COUCHDB,
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_DB": DATABASE,
            "CHT_SYNC_SCHEDULE": "none",
            "CHT_SYNC_TIMEOUT": "3",
            "CHT_DATA_TESTS_SCHEDULE": "none",
            "CHT_PIPELINE_SCHEDULE": "none",
            "CHT_PIPELINE_DIR": str(folder / "pipeline"),
            "DBT_LOCAL_PATH": str(project),
            "DBT_PACKAGE_HUB_URL": "http://127.0.0.1:9/",
        }
        self.airflow = AirflowServices(
            folder / "airflow",
            f"postgresql+psycopg2://{postgres.user}:{postgres.password}@{postgres.host}:{postgres.port}/{METADATA}",
            self.settings,
        )
        self.client = AirflowClient(self.airflow)

    def rows(self, query):
        with psycopg2.connect(self.dsn) as conn, conn.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def take(self, seconds):
        self.rows(f"update public.pace set seconds = {seconds}")

    def write(self, *documents):
        url = f"{self.couchdb.url}/{COUCHDB}/_bulk_docs"
        requests.post(url, json={"docs": documents}, auth=self.couchdb.auth, timeout=10).raise_for_status()

    def states(self, run_id, dag_id="cht_sync"):
        return {task["task_id"]: task["state"] for task in self.client.tasks(dag_id, run_id)}

    def clear(self, run_id, task_id):
        wanted = {"dag_run_id": run_id, "task_ids": [task_id], "only_failed": False, "dry_run": False}
        self.client._call("POST", "/api/v2/dags/cht_sync/clearTaskInstances", json=wanted)

    def end(self, run_id, dag_id="cht_sync"):
        wait_for(lambda: self.client.run(dag_id, run_id)["state"] in DONE, 300)
        return self.client.run(dag_id, run_id)["state"], self.states(run_id, dag_id)

    def log(self, run_id, task_id):
        folder = self.airflow.folder / "logs" / "dag_id=cht_sync" / f"run_id={run_id}" / f"task_id={task_id}"
        return [json.loads(line)["event"] for line in (folder / "attempt=1.log").read_text().splitlines()]

    @property
    def behind(self):
        return self.rows(
            "select count(*) from v1.couchdb where saved_timestamp > coalesce("
            "(select modelled_to from v1.couchdb_model_run), '-infinity')"
        )[0][0]


def wait_for(happens, seconds=90):
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.3)
    return found


@pytest.fixture(scope="module")
def long(server_folder, postgres_server, couchdb_server):
    folder = server_folder / "long"
    folder.mkdir()
    for name in (DATABASE, METADATA):
        postgres_server.create_database(name)
    long = Long(folder, couchdb_server, postgres_server)
    requests.put(f"{couchdb_server.url}/{COUCHDB}", auth=couchdb_server.auth, timeout=10).raise_for_status()
    long.write({"_id": "a", "type": "person", "name": "Amina"})
    long.rows("create table public.pace as select 600 as seconds")
    install(Settings(long.settings))
    with ExitStack() as stack:
        stack.callback(long.airflow.stop)
        long.airflow.start()
        for dag_id in ("cht_sync", "cht_data_tests"):
            long.client.wait_for_dag(dag_id)
        yield long


def test_a_build_that_takes_too_long_says_so_ends_its_statements_and_can_be_made_good(long):
    run_id = long.client.trigger("cht_sync")
    wait_for(lambda: long.rows(AT_WORK))
    state, states = long.end(run_id)
    assert state == "failed"
    assert {name: states[f"models.{name}"] for name in ("dbt_run", "person", "slow", "late")} == {
        "dbt_run": "failed",
        "person": "success",
        "slow": "skipped",
        "late": "skipped",
    }
    assert states["result"] == "failed", "it has had its say before Airflow has ended the run"
    assert long.rows(AT_WORK) == []
    last = long.log(run_id, "models.dbt_run")[-1]
    assert "CHT_SYNC_TIMEOUT=3 minutes" in last
    assert "set CHT_MODELS=asset" in last
    assert last.endswith("Airflow does not try it again in this run (try 1 of 2).")
    kept = long.rows("select message from v1.couchdb_task_error where task_id = 'models.dbt_run'")
    assert "CHT_SYNC_TIMEOUT=3 minutes" in kept[0][0]
    results = dict(long.rows("select name, status from v1.couchdb_model_result"))
    assert results.get("person") == "success"
    assert "slow" not in results, "it was cut off, and has not failed"
    assert long.behind == 1

    # A person makes it quicker and clears dbt alone; the last task of the run does not run again.
    long.take(0)
    long.clear(run_id, "models.dbt_run")
    wait_for(lambda: long.states(run_id)["models.dbt_run"] == "success", 120)
    wait_for(lambda: long.behind == 0, 10)
    assert long.rows("select task_id from v1.couchdb_task_error where task_id like 'models.%'") == []


def test_a_dbt_that_is_killed_leaves_nothing_at_work_and_is_tried_again(long):
    long.take(600)
    long.write({"_id": "b", "type": "person", "name": "Bina"})
    run_id = long.client.trigger("cht_sync")
    ((port,),) = wait_for(lambda: long.rows(AT_WORK))
    (pid,) = {each.pid for each in psutil.net_connections("tcp") if each.laddr and each.laddr.port == port and each.pid}
    psutil.Process(pid).kill()
    wait_for(lambda: long.rows(AT_WORK) == [], 30)
    long.take(0)
    state, states = long.end(run_id)
    assert (state, states["models.dbt_run"], states["models.late"]) == ("success", "success", "success")
    assert long.behind == 0


def test_a_task_that_is_cleared_while_it_runs_cancels_what_it_has_at_work(long):
    long.take(600)
    long.write({"_id": "c", "type": "person", "name": "Cora"})
    run_id = long.client.trigger("cht_sync")
    before = wait_for(lambda: long.rows(AT_WORK))
    long.take(0)
    long.clear(run_id, "models.dbt_run")
    wait_for(lambda: long.rows(AT_WORK) != before, 45)
    state, states = long.end(run_id)
    assert (state, states["models.dbt_run"], states["models.late"]) == ("success", "success", "success")
    assert long.behind == 0


def test_a_test_that_fails_while_documents_arrive_is_run_again_after_the_models(long):
    """It compares the documents with a model that has not seen the newest."""
    long.rows(
        "insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc) select now() at time zone 'utc', 'd',"
        " false, source, jsonb_build_object('_id', 'd', 'type', 'person', 'name', 'Dora') from v1.couchdb limit 1"
    )
    run_id = long.client.trigger("cht_data_tests")
    wait_for(lambda: long.rows("select 1 from v1.couchdb_copy_hold"))
    assert long.rows("select status, failures from v1.couchdb_test_result") == [("fail", 1)]
    long.write({"_id": "e", "type": "person", "name": "Edna"})
    assert long.end(long.client.trigger("cht_sync"))[0] == "success"
    assert long.end(run_id, "cht_data_tests")[0] == "success"
    assert long.rows("select status, failures from v1.couchdb_test_result") == [("pass", 0)]
    assert long.rows("select 1 from v1.couchdb where _id = 'e'") == [], "nothing was copied meanwhile"
    assert long.rows("select 1 from v1.couchdb_copy_hold") == []
