"""The DAG of deployments as Airflow reads it."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "dags" / "cht_pipeline_deploy_dag.py"


@pytest.fixture
def read(monkeypatch):
    """Reads the DAG file with variables set; gives the DAG."""

    def read(**environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(FILE))["dag"]

    return read


def test_its_shape(read):
    dag = read()
    assert dag.schedule == "*/10 * * * *"
    assert (dag.max_active_runs, dag.catchup, dag.dagrun_timeout) == (1, False, timedelta(minutes=1440))
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == {
        "look": set(), "build": {"look"}, "plan": {"build"}, "switch": {"build", "plan"},
    }  # fmt: skip
    assert set(dag.params) == {"dry_run", "run_unit_tests", "roll_back_to", "full_refresh", "drop_removed", "force"}
    # What is skipped must not be taken for what failed, and one failure stops the rest.
    assert {task.trigger_rule for task in dag.tasks} == {"all_success"}


@pytest.mark.parametrize(
    "environ",
    [
        {"CHT_PIPELINE_SCHEDULE": "now and then"},
        {"CHT_PIPELINE_TIMEOUT": "soon"},
        {"CHT_PIPELINE_BRANCH_URL": "ftp://nowhere", "CHT_PIPELINE_DIR": "/no/such/folder"},
        {"POSTGRES_HOST": "no-such-host.invalid", "POSTGRES_SCHEMA": "100%"},
        {"DBT_LOCAL_PATH": "~nobody-such/x"},
    ],
)
def test_it_is_read_whatever_the_environment_holds(read, environ):
    assert "look" in read(**environ).task_ids


def test_the_schedule_is_a_setting(read):
    assert read(CHT_PIPELINE_SCHEDULE="none").schedule is None
    assert read(CHT_PIPELINE_SCHEDULE="@hourly").schedule == "@hourly"
