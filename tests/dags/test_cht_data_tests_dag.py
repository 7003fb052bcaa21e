"""The DAG of the data tests, as Airflow reads it."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from cht_sync.dbt.project.version import STARTER_GRAPH
from cht_sync.errors import SettingsError

FILE = Path(__file__).parents[2] / "dags" / "cht_data_tests_dag.py"
GRAPH = json.loads(STARTER_GRAPH.read_text())


@pytest.fixture
def read(monkeypatch):
    """Reads the DAG file with variables set; gives the DAG."""

    def read(**environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(FILE))["dag"]

    return read


def test_one_task_for_each_model_that_has_tests(read):
    dag = read()
    models = {GRAPH["nodes"][test["model"]]["name"] for test in GRAPH["tests"].values()}
    assert set(dag.task_ids) == {"run_tests", "docs", "result", *(f"tests.{model}" for model in models)}
    shown = [test for task in dag.tasks if task.task_id.startswith("tests.") for test in task.tests]
    assert sorted(shown) == sorted(GRAPH["tests"])
    run = dag.get_task("run_tests")
    assert (run.select, run.base_cmd, run.retries) == (None, ["test"], 1)
    assert run.dbt_cmd_flags == ["--exclude-resource-type", "unit_test"]
    assert run.model_of["test.cht_starter.not_null_contact_saved_timestamp.7573cdeece"] == "contact"
    assert dag.get_task("tests.contact").upstream_task_ids == {"run_tests"}
    assert (dag.schedule, dag.max_active_runs, dag.catchup) == ("@daily", 1, False)


def test_only_tests_whose_models_are_chosen_run(read):
    dag = read(DBT_SELECTOR="contact")
    assert {task for task in dag.task_ids if task.startswith("tests.")} == {"tests.contact"}
    chosen = dag.get_task("run_tests").select.split()
    assert "not_null_contact_saved_timestamp" in chosen
    assert not [name for name in chosen if "document_metadata" in name], "it would test a table that nobody makes"


def test_what_cannot_be_drawn_is_a_task_that_says_why(read):
    dag = read(DBT_SELECTOR="tag:nothing", CHT_DATA_TESTS_SCHEDULE="none")
    assert dag.task_ids == ["tests.not_ready"]
    with pytest.raises(SettingsError, match="DBT_SELECTOR='tag:nothing'"):
        dag.get_task("tests.not_ready").execute({})
    assert dag.schedule is None
