"""A real Airflow whose models take longer than a run may, and whose dbt is killed."""

from __future__ import annotations

import json

import psutil
import pytest

from tests.e2e.small_deployment import SmallDeployment, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
SLOW = (
    "{{ config(materialized='table') }} select uuid, pg_sleep(seconds)::text as a from {{ ref('person') }}, public.pace"
)
ALL_ARE_MODELLED = """
select _id from {{ env_var('POSTGRES_SCHEMA') }}.{{ env_var('POSTGRES_TABLE') }}
where doc->>'type' = 'person' and _id not in (select uuid from {{ ref('person') }})
"""
AT_WORK = "select client_port from pg_stat_activity where application_name = 'cht_sync dbt v1' and state = 'active'"


class Long(SmallDeployment):
    """The deployment: a model takes as long as a table says."""

    settings = {"CHT_SYNC_TIMEOUT": "3"}

    def __init__(self, *servers):
        late = "{{ config(materialized='table') }} select * from {{ ref('slow') }}"
        super().__init__(*servers, {"models/slow.sql": SLOW, "models/late.sql": late})
        (self.project / "models" / "models.yml").unlink()
        (self.project / "tests" / "name_is_a_number.sql").unlink()
        (self.project / "tests" / "all_are_modelled.sql").write_text(ALL_ARE_MODELLED)

    def take(self, seconds):
        self.rows(f"update public.pace set seconds = {seconds}")

    def clear(self, run_id, task_id):
        wanted = {"dag_run_id": run_id, "task_ids": [task_id], "only_failed": False, "dry_run": False}
        self.client._call("POST", "/api/v2/dags/cht_sync/clearTaskInstances", json=wanted)

    def ended(self, run_id):
        """Its state and those of its tasks."""
        return self.end(run_id), self.states(run_id)

    def said(self, run_id, task_id):
        return [json.loads(line)["event"] for line in self.log("cht_sync", run_id, task_id).read_text().splitlines()]

    @property
    def behind(self):
        return self.rows(
            "select count(*) from v1.couchdb where saved_timestamp > coalesce("
            "(select modelled_to from v1.couchdb_model_run), '-infinity')"
        )[0][0]


@pytest.fixture(scope="module")
def long(server_folder, postgres_server, couchdb_server):
    long = Long(server_folder / "long", couchdb_server, postgres_server)
    long.write({"_id": "a", "type": "person", "name": "Amina"})
    long.rows("create table public.pace as select 600 as seconds")
    with long.running("cht_sync", "cht_data_tests"):
        yield long


def test_a_build_that_takes_too_long_says_so_ends_its_statements_and_can_be_made_good(long):
    run_id = long.client.trigger("cht_sync")
    wait_for(lambda: long.rows(AT_WORK))
    state, states = long.ended(run_id)
    assert state == "failed"
    assert {name: states[f"models.{name}"] for name in ("dbt_run", "person", "slow", "late")} == {
        "dbt_run": "failed",
        "person": "success",
        "slow": "skipped",
        "late": "skipped",
    }
    assert states["result"] == "failed", "it has had its say before Airflow has ended the run"
    assert long.rows(AT_WORK) == []
    last = long.said(run_id, "models.dbt_run")[-1]
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
    state, states = long.ended(run_id)
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
    state, states = long.ended(run_id)
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
    assert long.end(long.client.trigger("cht_sync")) == "success"
    assert long.end(run_id, "cht_data_tests") == "success"
    assert long.rows("select status, failures from v1.couchdb_test_result") == [("pass", 0)]
    assert long.rows("select 1 from v1.couchdb where _id = 'e'") == [], "nothing was copied meanwhile"
    assert long.rows("select 1 from v1.couchdb_copy_hold") == []
