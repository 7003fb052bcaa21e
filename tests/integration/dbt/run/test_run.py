import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_project import write_small_project

pytestmark = pytest.mark.integration

DAG = """
from datetime import datetime

from airflow.sdk import dag

from cht_sync.dbt.render.models_group import models_group
from cht_sync.settings.settings import Settings


@dag(schedule=None, start_date=datetime(2024, 1, 1))
def little():
    models_group(Settings())


little()
"""


@pytest.fixture
def airflow(database, tmp_path, monkeypatch):
    """Runs the command line of Airflow, with a metadata database of its own."""
    (tmp_path / "dags").mkdir()
    (tmp_path / "dags" / "little.py").write_text(DAG)
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(tmp_path / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__COSMOS__CACHE_DIR": str(tmp_path / "cosmos"),
        "PYTHONPATH": str(Path("plugins").absolute()),
        "CHT_PIPELINE_DIR": str(tmp_path / "pipeline"),
        "DBT_PACKAGE_HUB_URL": "http://127.0.0.1:9/",
        "DO_NOT_TRACK": "1",
    }

    def run(*arguments, **more):
        return subprocess.run(
            [sys.executable, "-m", *arguments], env={**env, **more}, capture_output=True, text=True, check=False
        )

    assert run("airflow", "db", "migrate").returncode == 0
    return run


def test_a_project_is_installed_and_run(airflow, database, tmp_path):
    """On an empty database, with a selection that leaves out the table which the project's hook writes to."""
    person = "{{ config(materialized='table', tags=['base']) }} select 'a' as uuid, '{{ env_var('POSTGRES_TABLE') }}' as name"
    project = write_small_project(tmp_path / "small", {"models/person.sql": person})
    named = {
        "DBT_LOCAL_PATH": str(project),
        "DBT_POSTGRES_SCHEMA": "models",
        "DBT_SELECTOR": "tag:base;tag:late",
    }

    done = airflow("cht_sync", "pipeline", **named)
    assert (done.returncode, done.stdout.count("3 models")) == (0, 1), done.stderr

    done = airflow("airflow", "dags", "test", "little", **named)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-3000:]
    assert database.rows("select name from models.late") == [("couchdb",)]
    noted = {node for (node,) in database.rows("select node from models.run_log")}
    assert noted == {"model.small.person", "model.small.run_log", "model.small.late"}, "models only, no test"
    assert "Unable to do partial parsing" not in said
    assert f"/{database.name}/models/late" in said
    assert os.environ["POSTGRES_PASSWORD"] not in said
