"""What params of the DAG change about dbt for one run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk import Param

from cht_sync.settings.settings import Settings

Params = Mapping[str, Any] | None


def model_params() -> dict[str, Param]:
    """The params of a DAG that runs models; all are empty or off, so that the settings count."""
    return {
        "lift_guard": Param(
            False,
            type="boolean",
            title="Lift the guard of the models",
            description="Run every model although one that hangs on it failed the last time, and accept however many"
            " rows the models have now.",
        ),
        "threads": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            maximum=64,
            title="dbt threads",
            description="Models built at once in this run; empty for DBT_THREAD_COUNT.",
        ),
        "batch_size": Param(
            None,
            type=["null", "integer"],
            minimum=0,
            maximum=2**31 - 1,
            title="dbt batch size",
            description="Documents that this run models at most, 0 for all; empty for DBT_BATCH_SIZE.",
        ),
        "dbt_vars": Param(
            {},
            type="object",
            title="dbt variables",
            description="Variables of the dbt project for this run, as --vars takes them; they are shown.",
        ),
    }


def run_vars(settings: Settings, params: Params) -> dict[str, Any]:
    """The variables that dbt gets: ``batch_size`` where one is set, and those of ``dbt_vars``, which win."""
    chosen = (params or {}).get("batch_size")
    batch = settings.dbt_batch_size if chosen is None else chosen
    return {**({"batch_size": batch} if batch else {}), **((params or {}).get("dbt_vars") or {})}


def thread_flags(params: Params) -> list[str]:
    """The option of dbt for the run's number of threads; empty where the profile's counts."""
    threads = (params or {}).get("threads")
    return ["--threads", str(threads)] if threads else []
