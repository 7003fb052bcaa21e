"""Puts together what the page shows at a glance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Connection

from cht_sync.common.text import zone
from cht_sync.dbt.tables.model_results import without_ids
from cht_sync.errors import SettingsError, StoreError
from cht_sync.monitoring.airflow_state import Dag, Task, TaskError
from cht_sync.monitoring.destination import opened
from cht_sync.monitoring.finding import Limits
from cht_sync.monitoring.health import judge
from cht_sync.monitoring.parts import Unknown
from cht_sync.monitoring.reader import read
from cht_sync.monitoring.source_state import is_gone
from cht_sync.monitoring.state import Destination, Facts, Source
from cht_sync.monitoring.web.answers import Reject, Status
from cht_sync.monitoring.web.judge import verdict, worst_first
from cht_sync.monitoring.web.lists import read_rejects
from cht_sync.monitoring.web.scene import Scene
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings


def read_status(
    dag: Dag,
    tasks: dict[str, Task],
    now: datetime | None = None,
    with_link: Callable[[TaskError], TaskError] = lambda error: error,
) -> Status:
    """The state of everything; never an error of the destination, but what it says.

    :param with_link: finds the way to the task that an error is of.
    """
    now, settings = now or datetime.now(UTC), Settings()
    limits = Limits.of(settings, now)
    rejects: list[Reject] | None = None
    try:
        facts, rejects = _read(settings, dag, tasks, now)
    except (SettingsError, StoreError) as error:
        refused = isinstance(error, SettingsError)
        # Airflow knows of the sources, too, and how their tasks ended.
        facts = Facts(Destination(reachable=False, message=str(error), refused=refused))
        facts.sources = [Source(source=name) for name in sorted(tasks)]
    facts.dag, facts.task_errors = dag, [with_link(error) for error in facts.task_errors]
    findings = judge(facts, tasks, now, limits)
    return Status(
        at=now,
        timezone=zone(),
        verdict=verdict(findings, Scene(facts, now, limits)),
        destination=facts.destination,
        unknown=facts.unknown,
        dag=dag,
        sources=worst_first(facts.sources),
        groups=facts.groups,
        models=facts.models,
        rejects=rejects or [],
        rejects_known=rejects is not None,
        task_errors=facts.task_errors,
    )


def without_documents(status: Status) -> Status:
    """The same for who may not see ids of documents."""
    models = [model.model_copy(update={"documents_at_fault": []}) for model in status.models]
    hidden = status.model_copy(update={"models": models, "documents_visible": False})
    # What a task says of a model that fails comes up in several places: none of them is missed.
    return Status.model_validate(_each_text(hidden.model_dump(), without_ids))


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, dict):
        return {name: _each_text(each, change) for name, each in value.items()}
    if isinstance(value, list):
        return [_each_text(each, change) for each in value]
    return change(value) if isinstance(value, str) else value


def _read(settings: Settings, dag: Dag, tasks: dict[str, Task], now: datetime) -> tuple[Facts, list[Reject] | None]:
    raw, models_role, rejects = postgres_connection(settings), dbt_connection(settings), None
    with opened(raw, settings, "read the status") as destination:
        facts = read(destination, now, tasks, is_gone(dag, tasks, now), ledger=True)
        if _same_role(raw, models_role):
            rejects = destination.ask("rejects", lambda: read_rejects(destination), None)
    if not _same_role(raw, models_role):
        rejects = _rejects_of(models_role, settings, facts.unknown)
    return facts, rejects


def _rejects_of(role: Connection, settings: Settings, unknown: list[Unknown]) -> list[Reject] | None:
    """A role for the models that does not work is no reason not to show the copy."""
    with suppress(SettingsError, StoreError), opened(role, settings, "read document_rejects") as destination:
        rejects = destination.ask("rejects", lambda: read_rejects(destination), None)
        unknown += destination.unknown
        return rejects
    return None


def _same_role(one: Connection, other: Connection) -> bool:
    fields = ("host", "port", "login", "schema")
    return all(getattr(one, field) == getattr(other, field) for field in fields)
