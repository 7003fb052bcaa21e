"""What reading each DAG file costs, beyond the imports of Airflow and Cosmos."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from cht_sync.dbt.project.source import configured_source
from cht_sync.dbt.project.version import Deployment
from cht_sync.settings.settings import Settings
from include.demo.servers import foreign
from tests.benchmarks.figures import Figure

REPOSITORY = Path(__file__).parents[2]
ROUNDS = 5
MANY = 300
READ = """
import runpy, sys, time
import airflow.sdk, airflow.providers.postgres.hooks.postgres, airflow.providers.standard.operators.python
import cosmos.airflow.task_group, cosmos.operators.local, cosmos.operators.watcher, cosmos.plugin.airflow3
sys.argv = ["airflow", "dag-processor"]
began = time.perf_counter()
runpy.run_path({path!r})
print(time.perf_counter() - began)
"""


def figures(folder: Path) -> list[Figure]:
    """Reads each DAG file in fresh processes, with the starter's models and with many.

    :param folder: for Airflow's home and the generated models.
    """
    many = many_models(folder / "many", MANY)
    found = []
    for path in sorted((REPOSITORY / "dags").glob("*.py")):
        place = {"CHT_MODELS": "asset"} if path.stem == "cht_models_dag" else {}
        found.append(Figure(f"reading dags/{path.name}", reading(path, folder, place), "s", most=0.5))
        seconds = reading(path, folder, {**place, **many})
        found.append(Figure(f"reading dags/{path.name} with {MANY} models", seconds, "s", most=1))
    return found


def reading(path: Path, folder: Path, variables: dict[str, str]) -> float:
    """Seconds to read a DAG file, median of a few fresh processes.

    :param path: the file.
    :param folder: for Airflow's home.
    :param variables: of the environment.
    """
    environment = {
        **foreign(os.environ),
        "PYTHONPATH": str(REPOSITORY / "plugins"),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "CHT_MODELS_EXECUTION": "watcher",
        **variables,
    }
    command = [sys.executable, "-c", READ.format(path=str(path))]
    seconds = []
    for _ in range(ROUNDS):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        seconds.append(float(done.stdout.splitlines()[-1]))
    return statistics.median(seconds)


def many_models(folder: Path, number: int) -> dict[str, str]:
    """Writes what an installed project of many models leaves to draw: each reads two others and has three tests.

    :param folder: where to.
    :param number: of models.
    :return: variables that make a DAG draw it.
    """
    environ = {"CHT_PIPELINE_DIR": str(folder), "DBT_LOCAL_PATH": str(folder / "project")}
    version = folder / "versions" / "one"
    version.mkdir(parents=True)
    nodes = {f"model.many.model_{each}": _model(each) for each in range(number)}
    tests = {
        f"test.many.{kind}_model_{each}.{each}": {
            "name": f"{kind}_model_{each}",
            "model": f"model.many.model_{each}",
            "models": [f"model.many.model_{each}"],
        }
        for each in range(number)
        for kind in ("not_null", "unique", "accepted_values")
    }
    graph = {"metadata": {"project_name": "many"}, "nodes": nodes, "tests": tests, "hooks": [], "selectors": {}}
    (version / "graph.json").write_text(json.dumps(graph))
    fingerprint = configured_source(Settings(environ)).fingerprint
    Deployment(version, version / "graph.json", environ["DBT_LOCAL_PATH"], fingerprint, models=number).save()
    (folder / "current").symlink_to(Path("versions") / "one")
    return environ


def _model(number: int) -> dict[str, Any]:
    name = f"model_{number}"
    return {
        "name": name,
        "alias": name,
        "description": f"The {number}th model.",
        "resource_type": "model",
        "package_name": "many",
        "original_file_path": f"models/{name}.sql",
        "fqn": ["many", name],
        "tags": ["base"],
        "config": {"materialized": "incremental", "tags": ["base"]},
        "depends_on": {
            "nodes": [f"model.many.model_{each}" for each in {number // 2, number - 1} if 0 <= each < number]
        },
    }
