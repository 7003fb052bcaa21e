"""The DAG of the models apart from the copy, as Airflow reads it."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import AssetOrTimeSchedule

from cht_sync.operators.couchdb_to_postgres import DOCUMENTS

DAGS = Path(__file__).parents[2] / "dags"


@pytest.fixture
def read(monkeypatch):
    """Reads a DAG file with variables set; gives what it holds."""

    def read(name, **environ):
        for variable, value in {"CHT_MODELS_EXECUTION": "watcher", **environ}.items():
            monkeypatch.setenv(variable, value)
        return runpy.run_path(str(DAGS / f"{name}_dag.py")).get("dag")

    return read


def test_inline_there_is_no_such_dag(read):
    assert read("cht_models") is None
    assert read("cht_models", CHT_MODELS="somewhere") is None


def test_apart_the_models_are_in_it_alone(read):
    dag = read("cht_models", CHT_MODELS="asset", CHT_MODELS_TIMEOUT="300")
    assert {"new_documents", "models.dbt_run", "models.contact", "result"} <= set(dag.task_ids)
    assert "new_documents" in dag.get_task("models.dbt_run").upstream_task_ids
    assert (dag.max_active_runs, dag.catchup, dag.dagrun_timeout) == (1, False, timedelta(minutes=300))
    assert dag.get_task("models.dbt_run").execution_timeout == timedelta(minutes=300)
    assert {"threads", "batch_size", "dbt_vars"} <= set(dag.params)
    copy = read("cht_sync", CHT_MODELS="asset")
    assert set(copy.task_ids) == {"sources", "sync", "new_documents", "forms", "result"}
    assert copy.get_task("result").upstream_task_ids == {"sources", "sync", "new_documents"}
    assert "threads" not in copy.params


def test_it_starts_with_documents_and_now_and_then(read):
    schedule = read("cht_models", CHT_MODELS="asset").schedule
    assert isinstance(schedule, AssetOrTimeSchedule)
    assert schedule.asset_condition == DOCUMENTS
    assert read("cht_models", CHT_MODELS="asset", CHT_MODELS_SCHEDULE="none").schedule == [DOCUMENTS]


def test_groups_run_one_after_the_other_however_each_ends(read):
    dag = read("cht_sync", CHT_MODELS="inline", DBT_SELECTOR="tag:base;tag:user", DBT_THREAD_COUNT="3;1")
    assert "models.tag_base.contact" in dag.task_ids
    assert dag.get_task("models.tag_user.telemetry").upstream_task_ids == {"models.then_tag_user"}
    gate = dag.get_task("models.then_tag_user")
    assert {"models.tag_base.dbt_run", "models.tag_base.place"} <= gate.upstream_task_ids
    assert (gate.trigger_rule, gate.ignore_downstream_trigger_rules) == ("all_done", False)
    threads = [
        dag.get_task(f"models.{group}.dbt_run").profile_config.profile_mapping.profile_args["threads"]
        for group in ("tag_base", "tag_user")
    ]
    assert threads == [3, 1]
    assert dag.get_task("models.tag_user.telemetry").producer_task_id == "models.tag_user.dbt_run"
    assert dag.get_task("result").upstream_task_ids >= {"models.tag_user.dbt_run", "models.tag_user.user"}
