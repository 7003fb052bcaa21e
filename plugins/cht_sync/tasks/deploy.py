"""The tasks of the DAG ``cht_pipeline_deploy``."""

from __future__ import annotations

import socket
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import task
from airflow.sdk.exceptions import AirflowSkipException

from cht_sync.callbacks.task_callbacks import forget_failures
from cht_sync.settings.settings import Settings
from cht_sync.tasks.alerts import deployment_worked

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from cht_sync.dbt.deploy.look import Wish


@task.short_circuit(task_id="look", task_display_name="look: is there a new version?")
def look_for_version(params: dict[str, Any]) -> dict[str, Any] | None:
    """Ends the run where the version that the settings name is in use."""
    from cht_sync.dbt.deploy.look import look

    settings = Settings()
    settings.check()
    goal = look(settings, _wish(params))
    if goal is None:
        # A broken version may have been taken back.
        settled()
    return asdict(goal) if goal else None


@task.short_circuit(task_id="build", task_display_name="build: fetch and validate it")
def build_version(goal: dict[str, Any], params: dict[str, Any]) -> dict[str, Any] | None:
    """Fetches, parses and validates the version beside the one in use.

    :return: the goal with the folder of the version; None where it is in use after all.
    """
    from cht_sync.dbt.deploy.deploy import build_version as build
    from cht_sync.dbt.deploy.look import Goal

    made = build(Settings(), Goal(**goal), _wish(params))
    return asdict(made) if made else None


@task(task_id="plan", task_display_name="plan: what is to be rebuilt")
def plan_deployment(goal: dict[str, Any], params: dict[str, Any]) -> list[dict[str, Any]]:
    """Lists the models to rebuild, with the rows they have now."""
    from cht_sync.dbt.deploy.deploy import plan
    from cht_sync.dbt.deploy.look import Goal

    return plan(Settings(), Goal(**goal), _wish(params))


@task(task_id="switch", task_display_name="switch: rebuild and put in use", multiple_outputs=False)
def switch_version(
    goal: dict[str, Any], planned: list[dict[str, Any]], params: dict[str, Any], ti: RuntimeTaskInstanceProtocol
) -> dict[str, Any]:
    """Rebuilds what changed aside, and switches tables and project at once.

    :param planned: what ``plan`` gave; it is worked out again, from what is in the database now.
    :raises AirflowSkipException: for a dry run.
    """
    from cht_sync.dbt.deploy.deploy import switch
    from cht_sync.dbt.deploy.look import Goal

    if params["dry_run"]:
        raise AirflowSkipException(f"A dry run: {len(planned)} models would be rebuilt; see the log of plan.")
    holder = f"{ti.dag_id}.{ti.task_id}@{socket.gethostname()}"
    return switch(Settings(), Goal(**goal), _wish(params), holder)


def settled(_context: Any = None) -> None:
    """Notes that the version in use is the one wanted; also Airflow's ``on_success_callback`` of the last task."""
    deployment_worked()
    forget_failures("cht_pipeline_deploy")


def _wish(params: dict[str, Any]) -> Wish:
    from cht_sync.dbt.deploy.look import Wish

    return Wish(
        roll_back_to=(params["roll_back_to"] or "").strip(),
        full_refresh=list(params["full_refresh"] or []),
        run_unit_tests=params["run_unit_tests"],
        force=params["force"],
        drop_removed=list(params.get("drop_removed") or []),
    )
