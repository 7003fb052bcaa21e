from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowException, AirflowRescheduleException, AirflowSkipException
from cosmos.exceptions import CosmosDbtRunError

from cht_sync.dbt.operators import watch_model as module
from cht_sync.dbt.operators.run_all import RunAllModels
from cht_sync.dbt.render.models_group import models_group
from cht_sync.errors import HeldError, ShrunkError, StillFailingError
from cht_sync.settings.settings import Settings

OK = {"status": "success", "outlet_uris": ["postgres://h:1/d/s/t"], "message": "INSERT 0 1"}


@pytest.fixture
def dag(tmp_path):
    with DAG("d", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
        models_group(Settings({"CHT_PIPELINE_DIR": str(tmp_path), "CHT_MODELS_EXECUTION": "watcher"}))
    return dag


@pytest.fixture
def poke(dag, monkeypatch):
    task = dag.get_task("models.contact")
    runs = []
    monkeypatch.setattr(task, "build_and_run_cmd", lambda context, cmd_flags: runs.append(cmd_flags))

    monkeypatch.setattr(module, "note_alone", lambda context: runs.append("noted"))

    def once(state, told, try_number=1):
        task._pokes = 0
        monkeypatch.setattr(task, "_get_producer_task_status", lambda _: state)
        monkeypatch.setattr(module, "get_xcom_val", lambda *_: told)
        monkeypatch.setattr("cosmos.operators._watcher.base.get_xcom_val", lambda *_, **__: [])
        return task.poke({"ti": SimpleNamespace(try_number=try_number)})

    once.task, once.runs = task, runs
    return once


def test_it_waits_and_then_is_done(poke):
    assert poke("running", None) is False
    assert poke("running", OK) is True
    assert poke.task._outlet_uris == OK["outlet_uris"]
    assert poke("success", OK) is True


def test_a_failed_model_tells_dbts_message(poke):
    with pytest.raises(AirflowException, match=r"model\.cht_starter\.contact error: Database Error"):
        poke("running", {**OK, "status": "error", "message": "Database Error\n"})


def test_it_fails_for_good_where_it_waits_for_another_or_has_shrunk(poke):
    with pytest.raises(HeldError, match="did not run. contact fails"):
        poke("success", {**OK, "status": "held", "message": "contact fails"}, try_number=2)
    with pytest.raises(ShrunkError, match="fell from"):
        poke("running", {**OK, "status": "shrunk", "message": "contact fell from 40 to 30 rows"})
    assert poke.runs == []


@pytest.mark.parametrize("state", ["success", "failed", "upstream_failed", "skipped"])
def test_it_does_not_wait_for_a_dbt_that_has_ended(poke, state):
    with pytest.raises(AirflowException, match=r"was not run: look at the log of models\.dbt_run"):
        poke(state, None)
    assert poke.runs == []


def test_a_second_try_runs_its_own_model(poke):
    assert poke("success", {**OK, "status": "error"}, try_number=2) is True
    assert poke.runs == [["--select", "contact"], "noted"]
    assert poke("running", None, try_number=2) is False


def test_a_second_try_waits_for_dbt_whatever_that_has_told_of_the_first(poke):
    """While dbt runs on with the other models, it has the lock, and its word of the first try is no news."""
    assert poke("running", {**OK, "status": "error"}, try_number=2) is False
    assert poke("up_for_retry", {**OK, "status": "error"}, try_number=2) is False
    assert poke.runs == []


def test_a_model_that_was_not_reached_in_time_starts_no_dbt_of_its_own(poke):
    for number in (1, 2):
        with pytest.raises(AirflowSkipException, match=r"contact was not reached\. dbt did not end in time"):
            poke("failed", {**OK, "status": "not reached", "message": "dbt did not end in time"}, number)
    assert poke.runs == []


def test_what_runs_dbt_is_tried_again_where_its_process_is_lost(tmp_path):
    for mode in ("watcher", "local"):
        with DAG("d", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
            models_group(Settings({"CHT_PIPELINE_DIR": str(tmp_path), "CHT_MODELS_EXECUTION": mode}))
        assert {task.retries for task in dag.tasks} == {1}, mode


def test_models_that_fail_again_are_not_tried_a_third_time(tmp_path):
    with DAG("d", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
        models_group(Settings({"CHT_PIPELINE_DIR": str(tmp_path), "CHT_MODELS_EXECUTION": "local"}))
    task = dag.get_task("models.retry_failed")
    with pytest.raises(StillFailingError, match="n0: …"):
        task.handle_exception_dbt_runner(result(("model", "error")))
    with pytest.raises(CosmosDbtRunError):
        task.handle_exception_dbt_runner(result(exception=ValueError("x")))


def result(*statuses, exception=None):
    nodes = [
        SimpleNamespace(status=status, message="why", node=SimpleNamespace(name=f"n{n}", resource_type=kind))
        for n, (kind, status) in enumerate(statuses)
    ]
    return SimpleNamespace(success=False, exception=exception, result=SimpleNamespace(results=nodes))


def test_failed_models_do_not_fail_the_run(dag):
    run: RunAllModels = dag.get_task("models.dbt_run")
    run.handle_exception_dbt_runner(result(("model", "error"), ("model", "skipped"), ("model", "success")))


@pytest.mark.parametrize(
    ("failure", "text"),
    [
        (result(("model", "error"), ("operation", "error")), "dbt invocation completed with errors: n0: …\nn1: …$"),
        (result(("model", "error"), exception=ValueError("x")), "dbt invocation did not complete .* error: …$"),
        (result(), "dbt invocation completed with errors: $"),
    ],
)
def test_all_else_fails_the_run(dag, failure, text):
    with pytest.raises(CosmosDbtRunError, match=text):
        dag.get_task("models.dbt_run").handle_exception_dbt_runner(failure)


@pytest.mark.parametrize("state", [None, "scheduled", "queued"])
def test_it_gives_its_slot_to_a_dbt_that_has_not_begun(poke, monkeypatch, state):
    """Where there are fewer slots than models, those that wait for dbt must not take them all."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    assert poke(state, None) is False
    now[0] += module.GIVE_WAY_AFTER_S - 1
    assert poke(state, None) is False
    now[0] += 2
    with pytest.raises(AirflowRescheduleException) as raised:
        poke(state, None)
    assert raised.value.reschedule_date > datetime.now(UTC)
    assert poke("running", None) is False
