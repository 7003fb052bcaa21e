"""The DAG of the weekly report as Airflow reads it."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

FILE = Path(__file__).parents[2] / "dags" / "cht_weekly_report_dag.py"


@pytest.fixture
def read(monkeypatch):
    def read(**environ):
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(str(FILE)).get("dag")

    return read


def test_without_a_folder_or_with_one_that_is_none_there_is_no_such_dag(read):
    assert read() is None
    assert read(CHT_REPORT_DIR="reports") is None
    with pytest.raises(SettingsError, match="CHT_REPORT_DIR='reports'"):
        Settings().check()


def test_it_runs_on_mondays_and_on_the_model_where_its_name_is_known(read):
    dag = read(CHT_REPORT_DIR="/reports")
    assert dag.task_ids == ["write_report"]
    assert dag.timetable.expression == "0 3 * * 1"
    assert (dag.catchup, dag.max_active_runs, set(dag.params)) == (False, 1, {"week"})
    dag = read(POSTGRES_HOST="db", POSTGRES_PORT="6432", POSTGRES_DB="cht", DBT_POSTGRES_SCHEMA="models")
    condition = dag.timetable.asset_condition
    assert "postgres://db:6432/cht/models/data_record" in str(condition)
