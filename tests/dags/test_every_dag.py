"""What every DAG and task says of itself in Airflow's UI."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from cht_sync.callbacks import task_callbacks

DAGS = sorted((Path(__file__).parents[2] / "dags").glob("*_dag.py"))
# With these every DAG is there.
ENVIRONMENT = {
    "CHT_MODELS": "asset",
    "CHT_MODELS_EXECUTION": "watcher",
    "CHT_ALERT_EMAIL": "oncall@example.org",
    "CHT_REPORT_DIR": "/reports",
    "CHT_SNAPSHOTS_SCHEDULE": "@daily",
    "CHT_OWNER_LINK": "mailto:oncall@example.org",
}


@pytest.fixture(params=DAGS, ids=lambda file: file.stem)
def dag(request, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return runpy.run_path(str(request.param))["dag"]


def test_it_says_what_it_is_and_whose(dag):
    assert dag.doc_md.startswith("### ")
    assert dag.description
    assert "cht" in dag.tags
    assert dag.owner_links == {"cht-sync": "mailto:oncall@example.org"}
    assert dag.owner == "cht-sync"


def test_it_is_found_in_the_list_by_the_id_that_pages_and_messages_use(dag):
    assert re.fullmatch(rf"{dag.dag_id}: [a-z].+", dag.dag_display_name)


def test_each_task_explains_itself(dag):
    silent = [task.task_id for task in dag.tasks if not (task.doc_md or "").strip()]
    assert not silent
    for task in dag.tasks:
        # A display name leads to the task id that logs, messages and pages use.
        assert task.task_display_name.partition(":")[0] in {task.task_id, task.task_id.rpartition(".")[2]}


def test_each_task_says_and_keeps_why_it_fails(dag):
    for task in dag.tasks:
        assert task_callbacks.begin in called(task, "on_execute_callback"), task.task_id
        assert called(task, "on_failure_callback") & {task_callbacks.failed, task_callbacks.run_failed}, task.task_id
        assert task_callbacks.failed in called(task, "on_retry_callback"), task.task_id
        assert called(task, "on_success_callback"), task.task_id
    for task in dag.tasks:
        if task.task_id in {"result", "verify"}:
            assert task_callbacks.run_failed in called(task, "on_failure_callback"), "it ends what is over"
            assert task_callbacks.run_succeeded in called(task, "on_success_callback")


def called(task, kind):
    found = getattr(task, kind) or []
    return set(found) if isinstance(found, (list, tuple)) else {found}


def test_the_tasks_of_this_project_have_names_that_say_what_they_do(dag):
    drawn_by_project = [task for task in dag.tasks if "." not in task.task_id or task.task_id.endswith("dbt_run")]
    assert [task.task_id for task in drawn_by_project if ": " not in task.task_display_name] == []


def test_a_link_that_airflow_would_refuse_does_not_take_the_dag_away(monkeypatch):
    monkeypatch.setenv("CHT_OWNER_LINK", "javascript:alert(1)")
    assert runpy.run_path(str(DAGS[0].with_name("cht_sync_dag.py")))["dag"].owner_links == {}


@pytest.mark.parametrize("variables", [{}, {"CHT_ALERT_SCHEDULE": "*/5 * * * *"}])
def test_alerts_are_there_where_somebody_is_to_be_told(monkeypatch, variables):
    file = DAGS[0].with_name("cht_alerts_dag.py")
    assert "dag" not in runpy.run_path(str(file))
    for name, value in {"CHT_ALERT_APPRISE_CONN_ID": "alerts", **variables}.items():
        monkeypatch.setenv(name, value)
    dag = runpy.run_path(str(file))["dag"]
    assert dag.schedule == variables.get("CHT_ALERT_SCHEDULE", "* * * * *")
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    # The next minute looks again; a second try of the same minute would only come later.
    assert [task.retries for task in dag.tasks] == [0]
