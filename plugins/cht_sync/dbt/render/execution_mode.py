"""Whether one dbt process runs all models, or one each."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Literal

from cht_sync.settings.settings import Settings

Mode = Literal["watcher", "local"]


def models_mode(settings: Settings) -> Mode:
    """How the models are to be run: as ``CHT_MODELS_EXECUTION`` says, else by what reads the DAG now."""
    chosen = settings.models_mode
    if chosen == "auto":
        return "local" if in_one_process() else "watcher"
    return "watcher" if chosen == "watcher" else "local"


@cache
def in_one_process() -> bool:
    """Whether tasks will run one after the other in this very process, so that none can watch another.

    True under ``airflow dags test`` and for a script that calls ``dag.test()``. The DAG processor and the tasks of
    a real run have a supervisor by the time they read a DAG file, and other commands of the command line only show
    or store what these two draw. Remembered, because ``dag.test()`` lends its process a supervisor later on.
    Source: ``set_supervisor_comms`` in ``airflow/sdk/execution_time/supervisor.py``.
    """
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    if hasattr(runner, "SUPERVISOR_COMMS"):
        return False
    program, *arguments = sys.argv or [""]
    if Path(program).name == "airflow" or program.endswith("airflow/__main__.py"):
        return arguments[:2] == ["dags", "test"]
    return True
