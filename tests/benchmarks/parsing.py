"""What reading each DAG file costs, beyond the imports of Airflow and Cosmos."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

from include.demo.servers import foreign
from tests.benchmarks.figures import Figure

REPOSITORY = Path(__file__).parents[2]
ROUNDS = 5
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
    """Reads each DAG file in fresh processes.

    :param folder: for Airflow's home.
    """
    environment = {
        **foreign(os.environ),
        "PYTHONPATH": str(REPOSITORY / "plugins"),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "CHT_MODELS_EXECUTION": "watcher",
    }
    found = []
    for path in sorted((REPOSITORY / "dags").glob("*.py")):
        seconds = []
        for _ in range(ROUNDS):
            command = [sys.executable, "-c", READ.format(path=str(path))]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
            seconds.append(float(done.stdout.splitlines()[-1]))
        found.append(Figure(f"reading dags/{path.name}", statistics.median(seconds), "s", most=0.5))
    return found
