"""Whole runs through a real scheduler, against plain ``dbt run`` of the same project.

``BENCH_PIPELINE`` names a dbt project to use in place of the starter, as ``CHT_PIPELINE_BRANCH_URL`` does, and
``BENCH_DOCUMENTS`` how many documents to make.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from cht_sync.settings.settings import Settings
from include.demo.airflow import AirflowServices
from include.demo.client import DONE, AirflowClient
from include.demo.fill import fill
from include.demo.servers import Servers, foreign
from include.demo.touch import touch
from tests.benchmarks.figures import Figure

ROUNDS = 5
PIPELINE = os.environ.get("BENCH_PIPELINE", "")
DOCUMENTS = int(os.environ.get("BENCH_DOCUMENTS", "20000"))
DAG_ID = "cht_sync"
DBT = [sys.executable, "-c", "import sys; from dbt.cli.main import cli; cli(sys.argv[1:])"]


def figures(folder: Path) -> list[Figure]:
    """Times runs with something to do, runs with nothing to do, and dbt alone, in turn.

    :param folder: for the servers.
    """
    with ExitStack() as stack:
        servers = Servers.start(folder / "demo", foreign(os.environ), stack)
        assert servers.couchdb is not None
        couchdb = servers.couchdb
        # Projects of others fail on broken values.
        fill(couchdb.url, couchdb.auth, DOCUMENTS, malformed=0.0 if PIPELINE else 0.002)
        environment = {
            **servers.settings,
            "CHT_SYNC_SCHEDULE": "none",
            "CHT_PIPELINE_DIR": str(folder / "demo" / "pipeline"),
            **({"CHT_PIPELINE_BRANCH_URL": PIPELINE} if PIPELINE else {}),
        }
        install(environment)
        airflow = AirflowServices(folder / "demo" / "airflow", servers.metadata, environment)
        stack.callback(airflow.stop)
        airflow.start()
        client = AirflowClient(airflow)
        client.wait_for_dag(DAG_ID)
        first = run(client)
        dbt_alone(airflow, Path(environment["CHT_PIPELINE_DIR"]))
        rounds = []
        for number in range(ROUNDS):
            touch(couchdb.url, couchdb.auth, edits=100, deletes=0, creates=0, seed=number)
            full = run(client)
            empty = run(client)
            rounds.append((full, empty, dbt_alone(airflow, Path(environment["CHT_PIPELINE_DIR"]))))
    alone = statistics.median(dbt for _, _, dbt in rounds)
    models = statistics.median(full["models"] for full, _, _ in rounds)
    return [
        Figure(f"first run, {DOCUMENTS:,} documents", first["run"], "s"),
        Figure("run with 100 edited documents", statistics.median(full["run"] for full, _, _ in rounds), "s"),
        Figure("its model part", models, "s"),
        *(Figure(f"of it {name}", seconds, "s") for name, seconds in _largest(rounds)),
        Figure("plain dbt run of the same project", alone, "s"),
        Figure("model part against plain dbt run", models / alone, most=1.3),
        Figure("run with nothing to do", statistics.median(empty["run"] for _, empty, _ in rounds), "s", most=5),
        Figure("dbt started in it", max(empty["dbt"] for _, empty, _ in rounds), "times", most=0),
    ]


def _largest(rounds: list[tuple[dict[str, float], dict[str, float], float]]) -> list[tuple[str, float]]:
    names = {name for full, _, _ in rounds for name in full if name.startswith("step ")}
    medians = {
        name.removeprefix("step "): statistics.median(full.get(name, 0.0) for full, _, _ in rounds) for name in names
    }
    return sorted(medians.items(), key=lambda each: -each[1])[:6]


def install(environment: dict[str, str]) -> None:
    """Installs the dbt project, as a person does who names one of their own.

    :param environment: settings of the sync.
    """
    subprocess.run(
        [sys.executable, "-m", "cht_sync", "pipeline"],
        env={**foreign(os.environ), **environment, "PYTHONPATH": "plugins"},
        capture_output=True,
        check=True,
    )


def run(client: AirflowClient) -> dict[str, float]:
    """One run of the DAG, to its end.

    :param client: of the Airflow.
    :return: seconds of the run and of its models, and how often dbt was started.
    """
    run_id = client.trigger(DAG_ID)
    while (state := client.run(DAG_ID, run_id))["state"] not in DONE:
        time.sleep(0.3)
    if state["state"] != "success":
        raise RuntimeError(f"the run {run_id} failed")
    tasks = {task["task_id"]: task for task in client.tasks(DAG_ID, run_id)}
    models = [task for name, task in tasks.items() if name.startswith("models.") and task["state"] == "success"]
    part = 0.0
    if models:
        part = (
            max(_time(each, "end_date") for each in models) - _time(tasks["new_documents"], "end_date")
        ).total_seconds()
    return {
        **{f"step {name}": seconds for name, seconds in _steps(tasks).items()},
        "run": (_time(state, "end_date") - _time(state, "start_date")).total_seconds(),
        "models": part,
        "dbt": float(tasks["models.dbt_run"]["state"] == "success"),
    }


def _steps(tasks: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What the time between the gate and the last model went into; tasks that begin later are not waited for twice."""
    part, at = {}, _time(tasks["new_documents"], "end_date")
    ran = [task for name, task in tasks.items() if name.startswith("models.") and task["state"] == "success"]
    for task in sorted(ran, key=lambda task: task["end_date"]):
        begin, end = (_time(task, name) for name in ("start_date", "end_date"))
        waited = max(0.0, (begin - at).total_seconds())
        part["waiting for the scheduler"] = part.get("waiting for the scheduler", 0.0) + waited
        part[task["task_id"]] = max(0.0, (end - max(at, begin)).total_seconds())
        at = max(at, end)
    return part


def dbt_alone(airflow: AirflowServices, pipeline: Path) -> float:
    """Seconds of ``dbt run`` from the command line, partial parsing included as a second run by hand has it.

    :param airflow: whose environment it gets.
    :param pipeline: where the project is installed.
    """
    project = pipeline / "current"
    settings = airflow.environment()
    began = time.monotonic()
    done = subprocess.run(
        [
            *DBT,
            "run",
            "--project-dir",
            str(project),
            "--profiles-dir",
            "include/dbt",
            "--target-path",
            str(pipeline.parent / "plain-target"),
        ],
        env={**os.environ, **settings, **Settings(settings).dbt_environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"plain dbt run failed: {(done.stdout + done.stderr)[-2000:]}")
    return time.monotonic() - began


def _time(record: dict[str, Any], name: str) -> Any:
    return datetime.fromisoformat(record[name].replace("Z", "+00:00"))
