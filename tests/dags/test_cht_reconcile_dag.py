"""The DAG of proofs as Airflow reads it."""

from __future__ import annotations

import runpy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.sdk import CronDataIntervalTimetable

from cht_sync.operators.reconcile import ReconcileOperator
from cht_sync.settings.settings import Settings
from cht_sync.tasks.reconcile import interval_of, is_full

FILE = Path(__file__).parents[2] / "dags" / "cht_reconcile_dag.py"
SUNDAY = datetime(2026, 3, 8, tzinfo=UTC)


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
    assert set(dag.task_ids) == {"plan", "compare", "plan_beside", "beside", "verify"}
    assert (dag.catchup, dag.max_active_runs) == (False, 1)
    # Real intervals: a backfill over March is about March.
    assert isinstance(dag.timetable, CronDataIntervalTimetable)
    assert dag.get_task("compare").upstream_task_ids == {"plan"}
    assert dag.get_task("beside").upstream_task_ids == {"plan_beside", "compare"}
    assert dag.get_task("verify").upstream_task_ids == {"plan", "compare", "beside"}
    assert {dag.get_task(each).trigger_rule for each in ("beside", "verify")} == {"all_done"}
    assert dag.get_task("compare").operator_class is ReconcileOperator
    assert set(dag.params) == {"dry_run", "full_proof", "compare_content", "reprocess", "by_reported_date"}
    assert not any(dag.params.dump().values())
    assert dag.doc_md.startswith("### Reconciliation")


def test_it_is_kind_to_a_production_server(read):
    dag = read(CHT_RECONCILE_POOL="couchdb", CHT_RECONCILE_PARALLEL="3")
    for name in ("compare", "beside"):
        options = dag.get_task(name).partial_kwargs
        assert (options["pool"], options["max_active_tis_per_dag"]) == ("couchdb", 3)


@pytest.mark.parametrize(
    "environ",
    [{"CHT_RECONCILE_SCHEDULE": "sometimes"}, {"CHT_RECONCILE_FULL": "no day"}, {"CHT_RECONCILE_PARALLEL": "0"}, {"BATCH_SIZE": "x"}],
)  # fmt: skip
def test_it_is_read_whatever_the_environment_holds(read, environ):
    assert "compare" in read(**environ).task_ids


def test_the_schedule_can_be_switched_off(read):
    assert read(CHT_RECONCILE_SCHEDULE="none").schedule is None


def run(run_type, end, **params):
    dag_run = SimpleNamespace(run_type=run_type, run_after=SUNDAY)
    return {
        "dag_run": dag_run,
        "data_interval_start": end and end - timedelta(days=1),
        "data_interval_end": end,
        "params": params,
    }


def test_one_scheduled_run_of_a_week_is_a_full_proof():
    week = [SUNDAY + timedelta(days=n) for n in range(7)]
    assert [is_full(Settings({}), run("scheduled", end)) for end in week] == [True] + [False] * 6
    assert not any(is_full(Settings({"CHT_RECONCILE_FULL": "never"}), run("scheduled", end)) for end in week)
    # A backfill over a year is not a proof of everything, fifty times.
    assert not any(is_full(Settings({}), run("backfill", end)) for end in week)
    assert is_full(Settings({}), run("manual", None, full_proof=True))


def test_a_run_by_hand_is_about_the_day_before_it():
    interval = interval_of(run("manual", None))
    assert (interval.start, interval.end) == (SUNDAY - timedelta(days=1), SUNDAY)
    interval = interval_of(run("scheduled", SUNDAY))
    assert (interval.start, interval.end) == (SUNDAY - timedelta(days=1), SUNDAY)
