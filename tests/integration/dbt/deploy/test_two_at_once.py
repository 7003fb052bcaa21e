"""Two Airflows that run the models of one schema at the same time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cht_sync.dbt.deploy.install import install
from tests.integration.dbt.conftest import write_project

pytestmark = pytest.mark.integration

# Two runs at once would both find no row, and the second to write would hit the key.
SLOW = """
{{ config(materialized='incremental', unique_key='id', post_hook='select pg_sleep(3)',
          indexes=[{'columns': ['id'], 'unique': true}]) }}
select 1 as id, '{{ invocation_id }}' as run
"""
RUN = """
import sys
from types import SimpleNamespace
import airflow.sdk  # before Cosmos, which it loads as a plugin
from cosmos.constants import InvocationMode
from cht_sync.dbt.render import cosmos_defaults
from cht_sync.dbt.operators.run_model import RunModel
from cht_sync.dbt import schema_lock as lock
from cht_sync.dbt.launch.profile import profile_config
from cht_sync.settings.settings import Settings

cosmos_defaults.apply()
lock.FIRST_S = 0.0
settings = Settings()
model = RunModel(
    task_id="one", project_dir=str(settings.pipeline_dir / "current"), profile_config=profile_config(settings),
    invocation_mode=InvocationMode.DBT_RUNNER, install_deps=False, emit_datasets=False,
)
ti = SimpleNamespace(dag_id=sys.argv[1], task_id="one", xcom_pull=lambda **_: None)
model.build_and_run_cmd({"ti": ti, "run_id": "r", "params": {}}, [])
"""


def test_one_waits_for_the_other_and_both_succeed(database, settings, tmp_path):
    project = write_project(tmp_path / "little", **{"models/one.sql": SLOW, "models/two.sql": "select 1 as b"})
    install(settings(DBT_LOCAL_PATH=str(project)))

    def start(name):
        env = {
            **os.environ,
            "AIRFLOW_HOME": str(tmp_path / name),
            "AIRFLOW__COSMOS__CACHE_DIR": str(tmp_path / name / "cosmos"),
            "PYTHONPATH": str(Path("plugins").absolute()),
            "CHT_PIPELINE_DIR": str(tmp_path / "pipeline"),
            "DBT_LOCAL_PATH": str(project),
        }
        return subprocess.Popen(
            [sys.executable, "-c", RUN, name], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    runs = [start("first"), start("second")]
    said = [run.communicate(timeout=280)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
    assert any("dbt is running on schema v1 already: waiting for" in each for each in said), "\n".join(said)
    assert database.value("select count(*) from v1.one") == 1
