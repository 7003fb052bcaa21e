"""The DAG as Airflow reads it, with each kind of environment."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path

import pytest

from cht_sync.errors import SettingsError
from cht_sync.operators.couchdb_to_postgres import DOCUMENTS, CouchDBToPostgresOperator

FILE = Path(__file__).parents[2] / "dags" / "cht_sync_dag.py"
MODELS = {
    "contact", "contact_type", "data_record", "dbt_results", "document_metadata", "document_rejects", "feedback",
    "patient", "person", "place", "telemetry", "telemetry_devices", "user",
}  # fmt: skip


@pytest.fixture
def read(monkeypatch):
    """Reads the DAG file with variables set; gives the DAG."""

    def read(**environ):
        for name, value in {"CHT_MODELS_EXECUTION": "watcher", **environ}.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(FILE))["dag"]

    return read


@pytest.fixture
def dag(read):
    return read()


def model_tasks(dag):
    return {task.task_id.removeprefix("models.") for task in dag.tasks if task.task_id.startswith("models.")}


def test_its_shape(dag):
    assert {task.task_id for task in dag.tasks if not task.task_id.startswith("models.")} == {
        "sources", "sync", "new_documents", "forms", "result",
    }  # fmt: skip
    assert model_tasks(dag) == MODELS | {"dbt_run"}
    assert (dag.max_active_runs, dag.catchup, dag.dagrun_timeout) == (1, False, timedelta(minutes=120))
    assert dag.schedule == "* * * * *"
    assert dag.doc_md.startswith("### CHT Sync")


def test_one_instance_for_each_source_named_by_it(dag):
    sync = dag.get_task("sync")
    assert sync.operator_class is CouchDBToPostgresOperator
    assert sync.partial_kwargs["map_index_template"] == "{{ task.source }}"


def test_airflow_sees_the_outlet_of_the_mapped_task(dag):
    # Without it the events of sources are dropped: the scheduler knows an alias only from what the DAG file says.
    assert dag.get_task("sync").partial_kwargs["outlets"] == [DOCUMENTS]


def test_a_source_that_fails_stops_neither_models_nor_the_report(dag):
    assert dag.get_task("new_documents").trigger_rule == "all_done"
    assert dag.get_task("result").trigger_rule == "all_done"
    assert {"sync", "sources"} <= dag.get_task("result").upstream_task_ids
    # a short circuit skips whatever follows it directly
    assert "result" not in dag.get_task("new_documents").downstream_task_ids


def test_nothing_waits_for_the_catalogue_of_forms(dag, read):
    forms = dag.get_task("forms")
    assert (forms.downstream_task_ids, forms.upstream_task_ids) == (set(), {"new_documents"})
    assert read(CHT_MODELS="asset").get_task("forms").upstream_task_ids == {"sync"}
    assert "forms" not in read(CHT_FORMS="none").task_ids


def test_models_follow_their_parents_and_the_gate(dag):
    assert dag.get_task("models.contact").upstream_task_ids == {"models.document_metadata"}
    assert "new_documents" in dag.get_task("models.document_metadata").upstream_task_ids
    assert "new_documents" in dag.get_task("models.dbt_run").upstream_task_ids


def test_in_one_process_no_task_watches_another(read):
    assert model_tasks(read(CHT_MODELS_EXECUTION="local")) == {"retry_failed", *MODELS}


@pytest.mark.parametrize(
    "environ",
    [
        {"COUCHDB_PORT": "abc"},
        {"COUCHDB_SECURE": "maybe"},
        {"BATCH_SIZE": "-1"},
        {"CHT_SYNC_SCHEDULE": "now and then"},
        {"CHT_SYNC_TIMEOUT": "soon"},
        {"DBT_THREAD_COUNT": "many"},
        {"POSTGRES_SCHEMA": "100%"},
        {"CHT_MODELS_EXECUTION": "fast"},
        {"COUCHDB_HOST": "no-such-host.invalid", "POSTGRES_HOST": "no-such-host.invalid"},
    ],
)
def test_it_is_read_whatever_the_environment_holds(read, environ):
    assert "sync" in read(**environ).task_ids


def test_bad_settings_fail_the_first_task_with_the_sentence(read, monkeypatch):
    dag = read(BATCH_SIZE="many", COUCHDB_DBS="medic")
    with pytest.raises(SettingsError, match="BATCH_SIZE='many'"):
        dag.get_task("sources").python_callable()


def test_no_database_fails_the_first_task_with_the_sentence(dag):
    with pytest.raises(SettingsError, match="COUCHDB_DBS is empty"):
        dag.get_task("sources").python_callable()


def test_a_project_that_is_not_installed_is_shown_as_a_task(read, tmp_path):
    dag = read(DBT_LOCAL_PATH=str(tmp_path), CHT_PIPELINE_DIR=str(tmp_path / "none"))
    assert model_tasks(dag) == {"not_ready"}
    with pytest.raises(SettingsError, match="make pipeline"):
        dag.get_task("models.not_ready").execute({})


@pytest.mark.parametrize("value", ["*/5 * * * *", "@hourly", "@continuous"])
def test_the_schedule_is_a_setting(read, value):
    assert read(CHT_SYNC_SCHEDULE=value).schedule == value


def test_the_schedule_can_be_switched_off(read):
    assert read(CHT_SYNC_SCHEDULE="none").schedule is None


def test_what_starts_a_run(read):
    assert read(CHT_SYNC_MODE="schedule").schedule == "* * * * *"
    (asset,) = read(CHT_SYNC_MODE="event").schedule
    assert (asset.name, asset.uri) == ("cht_sync_changes", "cht-sync://changes/")
    (watcher,) = asset.watchers
    assert watcher.trigger.serialize() == ("cht_sync.triggers.changes.ChangesTrigger", {})
    both = read(CHT_SYNC_MODE="both", CHT_SYNC_SCHEDULE="*/5 * * * *").schedule
    assert list(both.asset_condition.objects) == [asset]
    assert read(CHT_SYNC_MODE="both", CHT_SYNC_SCHEDULE="none").schedule == [asset]
    refused = read(CHT_SYNC_MODE="now", CHT_SYNC_SCHEDULE="* * * * *")
    assert refused.schedule == "* * * * *", "the task sources says why"
