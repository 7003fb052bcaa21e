"""A real Airflow in which the models run apart from the copy, on a project with the flaws of real ones."""

from __future__ import annotations

import pytest
import requests

from cht_sync.dbt.deploy.install import install
from cht_sync.settings.settings import Settings
from tests.e2e.small_deployment import SmallDeployment, wait_for
from tests.small_project import SECRET_NAME, write_small_project

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]
OTHER_NAME = "Bina-9c1d"
VERSIONS = "/api/v2/dags/cht_models/dagVersions"
SNAPSHOT = (
    "{{% snapshot {} %}}{{{{ config(unique_key='uuid', strategy='check', check_cols='all') }}}} {}{{% endsnapshot %}}"
)
SNAPSHOTS = {
    "snapshots/person_then.sql": SNAPSHOT.format("person_then", "select * from {{ ref('person') }}"),
    # PostgreSQL quotes the name that is no number.
    "snapshots/numbers_then.sql": SNAPSHOT.format(
        "numbers_then",
        f"select uuid, case when name <> '{SECRET_NAME}' then name::int end as n from {{{{ ref('person') }}}}",
    ),
}


class Apart(SmallDeployment):
    """The deployment."""

    settings = {"CHT_MODELS": "asset", "CHT_MODELS_SCHEDULE": "none", "DBT_SELECTOR": "tag:base; tag:late"}
    airflow_has = {"AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "12"}

    def install(self):
        install(Settings(self.settings))

    def get(self, path, **params):
        return self.client._call("GET", path, params=params)

    def run(self, dag_id):
        """Run a DAG to its end; gives its state and the states of its tasks."""
        return self.ended(dag_id, self.client.trigger(dag_id))

    def ended(self, dag_id, run_id):
        return self.end(run_id, dag_id), self.states(run_id, dag_id)

    def runs(self, dag_id):
        return self.get(f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]


@pytest.fixture(scope="module")
def apart(server_folder, postgres_server, couchdb_server):
    apart = Apart(server_folder / "apart", couchdb_server, postgres_server)
    apart.write({"_id": "a", "type": "person", "name": SECRET_NAME}, {"_id": "b", "type": "report"})
    with apart.running("cht_models", "cht_sync", "cht_data_tests", "cht_pipeline_deploy"):
        yield apart


@pytest.fixture(scope="module")
def first(apart):
    """The first run of the models, on an empty database, started by a run of the copy."""
    apart.client._call("PATCH", "/api/v2/dags/cht_models", json={"is_paused": False})
    state, tasks = apart.run("cht_sync")
    assert (state, set(tasks)) == ("success", {"sources", "sync", "new_documents", "result"})
    (run,) = wait_for(lambda: apart.runs("cht_models"))
    return run, *apart.ended("cht_models", run["dag_run_id"])


def test_documents_start_the_models_which_work_on_an_empty_database(apart, first):
    run, state, tasks = first
    assert (run["run_type"], state) == ("asset_triggered", "success"), tasks
    assert set(tasks.values()) == {"success"}
    assert {"models.tag_base.person", "models.tag_base.run_log", "models.tag_late.late"} <= set(tasks)
    assert apart.rows("select name from v1.late") == [(SECRET_NAME,)]
    noted = {node for (node,) in apart.rows("select node from v1.run_log")}
    assert noted == {"model.small.person", "model.small.run_log", "model.small.late"}, "models, and no test"


def test_the_asset_graph_leads_from_each_database_to_each_model(apart, first):
    # Airflow takes a moment to count assets that came by an alias among the active ones.
    query = {"limit": 100, "only_active": False}
    assets = {each["uri"]: each["id"] for each in apart.get("/api/v2/assets", **query)["assets"]}
    (source,) = (number for uri, number in assets.items() if uri.startswith("couchdb://"))
    (table,) = (number for uri, number in assets.items() if uri.endswith("/v1/late"))
    wait_for(lambda: {"dag:cht_models", f"asset:{table}"} <= reached_from(apart, f"asset:{source}"))


def reached_from(apart, start):
    """What the graph of assets and DAGs leads to."""
    following: dict[str, set[str]] = {}
    for edge in apart.get("/ui/dependencies", node_id=start)["edges"]:
        following.setdefault(edge["source_id"], set()).add(edge["target_id"])
    reached, waiting = set(), [start]
    while waiting:
        if (node := waiting.pop()) not in reached:
            reached.add(node)
            waiting += following.get(node, ())
    return reached


def test_each_model_shows_its_tests_and_no_document(apart, first):
    state, tasks = apart.run("cht_data_tests")
    assert state == "failed"
    assert tasks == {
        "docs": "success",
        "run_tests": "success",
        "tests.person": "failed",
        "tests.late": "failed",
        "result": "failed",
    }
    stored = {test.split(".")[2]: (model, status, rows) for test, model, status, rows in apart.rows(
        "select test, model, status, failures from v1.couchdb_test_result"
    )}  # fmt: skip
    assert stored == {
        "accepted_values_late_name__nobody": ("late", "fail", 1),
        "name_is_a_number": ("person", "error", None),
        "not_null_person_uuid": ("person", "pass", 0),
        "unique_person_uuid": ("person", "pass", 0),
    }
    logs = "\n".join(path.read_text() for path in (apart.folder / "airflow" / "logs").rglob("*.log"))
    assert "1 of 3 tests failed: name_is_a_number error: Database Error" in logs
    assert "invalid input syntax for type integer" in logs
    assert SECRET_NAME not in logs


def test_the_documentation_is_a_page_of_the_ui(apart, first):
    wait_for((apart.folder / "pipeline" / "docs" / "index.html").exists)
    page = requests.get(f"{apart.airflow.url}/cosmos/cht/dbt_docs_index.html", timeout=60)
    assert (page.status_code, "dbt Docs" in page.text) == (200, True)
    manifest = requests.get(f"{apart.airflow.url}/cosmos/cht/manifest.json", timeout=60).json()
    assert "model.small.person" in manifest["nodes"]


@pytest.fixture(scope="module")
def deployed(apart, first):
    """A version with one more model, and the first snapshots; gives how many versions of the DAG were there before."""
    before = len(apart.get(VERSIONS)["dag_versions"])
    newest = "{{ config(materialized='table', tags=['late']) }} select * from {{ ref('late') }}"
    write_small_project(apart.project, {"models/newest.sql": newest, **SNAPSHOTS})
    state, tasks = apart.run("cht_pipeline_deploy")
    assert (state, tasks["switch"]) == ("success", "success")
    return before


def test_a_deployment_is_drawn_without_a_restart(apart, deployed):

    def drawn():
        tasks = apart.get("/api/v2/dags/cht_models/tasks")["tasks"]
        return "models.tag_late.newest" in {task["task_id"] for task in tasks}

    wait_for(drawn, 180)
    assert len(apart.get(VERSIONS)["dag_versions"]) == deployed + 1
    state, tasks = apart.run("cht_models")
    assert (state, tasks["models.tag_late.newest"]) == ("success", "success")
    assert apart.rows("select name from v1.newest") == [(SECRET_NAME,)]


def test_snapshots_are_taken_by_a_dag_that_comes_with_the_first_of_them(apart, deployed):
    apart.client.wait_for_dag("cht_snapshots")
    state, tasks = apart.run("cht_snapshots")
    assert (state, tasks) == ("success", {"snapshots": "success"})
    then = "select name, dbt_valid_to is null from v1.person_then order by dbt_valid_from"
    assert apart.rows(then) == [(SECRET_NAME, True)]

    url = f"{apart.couchdb.url}/{apart.source}/a"
    document = requests.get(url, auth=apart.couchdb.auth, timeout=10).json()
    apart.write({**document, "name": OTHER_NAME})
    known = len(apart.runs("cht_models"))
    assert apart.run("cht_sync")[0] == "success"
    wait_for(lambda: len(apart.runs("cht_models")) > known)
    wait_for(lambda: apart.rows("select name from v1.late") == [(OTHER_NAME,)], 180)
    run_id = apart.client.trigger("cht_snapshots")
    (said,) = wait_for(
        lambda: apart.rows("select message from v1.couchdb_task_error where dag_id = 'cht_snapshots'"), 180
    )[0]
    # The other one has been taken, and Airflow tries again.
    assert apart.rows(then) == [(SECRET_NAME, False), (OTHER_NAME, True)]
    (task,) = wait_for(
        lambda: [one for one in apart.client.tasks("cht_snapshots", run_id) if one["state"] != "running"]
    )
    assert task["state"] == "up_for_retry"
    assert said.startswith("dbt snapshot failed: numbers_then: Database Error in snapshot numbers_then")
    assert "invalid input syntax for type integer" in said
    log = apart.client.log(task)
    assert said in log.splitlines()[-1]
    assert OTHER_NAME not in log
