"""The DAG of deployments in a real Airflow, with a private repository: its token is nowhere."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cht_sync.dbt.project.version import installed
from cht_sync.settings.settings import Settings
from tests.integration.dbt.git_server import GitServer
from tests.integration.dbt.project.test_private_repository import FORMS, QUOTED, TOKEN, ArgumentWatch, holds_secret

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]
REPOSITORY = Path(__file__).parents[4]


@pytest.fixture
def airflow(database, tmp_path):
    """Runs the command line of Airflow, with a metadata database of its own."""
    env = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "CHT_PIPELINE_DIR": str(tmp_path / "pipeline"),
        "DBT_PACKAGE_HUB_URL": "http://127.0.0.1:9/",
    }

    def run(*arguments, **more):
        command = [sys.executable, "-m", "airflow", *arguments]
        done = subprocess.run(command, env={**env, **more}, capture_output=True, text=True, check=False)
        return done.returncode, re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr)

    assert run("db", "migrate")[0] == 0
    return run


def test_the_token_of_a_private_repository_is_nowhere(repository, airflow, database, tmp_path):
    with GitServer(repository.parent, TOKEN, "") as server:
        url = f"http://{QUOTED}@{server.host}/{repository.name}/.git#v1"
        watch = ArgumentWatch(pause_s=0.02)
        watch.start()
        code, deployed = airflow("dags", "test", "cht_pipeline_deploy", CHT_PIPELINE_BRANCH_URL=url)
        seen = watch.stop()
        assert code == 0, deployed[-3000:]
        made = installed(Settings({"CHT_PIPELINE_DIR": str(tmp_path / "pipeline")}))
        assert database.rows("select source, revision from v1.couchdb_deployment") == [
            (f"http://{server.host}/{repository.name}/.git#v1", made.revision)
        ]
        # The second look finds nothing new, and the third is refused with git's words.
        code, again = airflow("dags", "test", "cht_pipeline_deploy", CHT_PIPELINE_BRANCH_URL=url)
        assert code == 0, again[-3000:]
        assert "is in use already" in again
        wrong = url.replace(QUOTED, "wr0ng-token")
        _, refused = airflow("dags", "test", "cht_pipeline_deploy", CHT_PIPELINE_BRANCH_URL=wrong)
        assert "git says" in refused
        assert "wr0ng-token" not in refused

    assert not holds_secret(deployed + again + refused + " ".join(seen))
    assert any("ls-remote" in line for line in seen)
    files = [path for path in (*tmp_path.glob("airflow/**/*"), *tmp_path.glob("pipeline/**/*")) if path.is_file()]
    assert tmp_path / "airflow" / "airflow.db" in files
    assert not [path for path in files if any(form.encode() in path.read_bytes() for form in (*FORMS, "wr0ng-token"))]
    with closing(sqlite3.connect(tmp_path / "airflow" / "airflow.db")) as metadata:
        states = metadata.execute("select task_id, state from task_instance order by start_date, task_id").fetchall()
        values = metadata.execute("select value from xcom where task_id = 'switch' and key = 'return_value'").fetchall()
    assert states.count(("switch", "success")) == 1
    assert states.count(("switch", "skipped")) == 1
    assert states.count(("look", "failed")) == 1
    ((report,),) = values
    assert made.revision in str(json.loads(report))
