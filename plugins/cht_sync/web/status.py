"""Puts together what the page shows at a glance."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Connection

from cht_sync.connections import dbt_connection, postgres_connection
from cht_sync.errors import SettingsError, StoreError
from cht_sync.health.findings import IsGone, TaskError, of_sources, read_task_errors
from cht_sync.health.parts import Unknown
from cht_sync.health.removed import RemovedModel, read_removed
from cht_sync.health.words import zone
from cht_sync.model_results import without_ids
from cht_sync.settings import Settings
from cht_sync.web.answers import Dag, Destination, Group, Model, Reject, Source, Status, Task
from cht_sync.web.destination import opened
from cht_sync.web.judge import judge, judge_source, worst_first
from cht_sync.web.models import read_groups, read_models, read_rejects
from cht_sync.web.sources import read_sources

if TYPE_CHECKING:
    from cht_sync.web.destination import Destination as Open

# Whoever was looked at since then may be copied all the same, where the newest runs do not tell for sure.
LATELY = timedelta(days=1)


@dataclass
class _Read:
    """What could be read of the destination."""

    sources: list[Source] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    rejects: list[Reject] | None = None
    task_errors: list[TaskError] = field(default_factory=list)
    removed: list[RemovedModel] = field(default_factory=list)
    unknown: list[Unknown] = field(default_factory=list)
    known: bool = False


def read_status(
    dag: Dag,
    tasks: dict[str, Task],
    now: datetime | None = None,
    with_link: Callable[[TaskError], TaskError] = lambda error: error,
) -> Status:
    """The state of everything; never an error of the destination, but what it says.

    :param dag: what Airflow knows of the DAG.
    :param tasks: the newest task of each source.
    :param now: the time, with a zone; default now.
    :param with_link: finds the way to the task that an error is of.
    """
    now = now or datetime.now(UTC)
    settings, reachable, read = Settings(), Destination(reachable=True), _Read()
    try:
        _read(read, settings, dag, tasks, now)
    except (SettingsError, StoreError) as error:
        reachable = Destination(reachable=False, message=str(error), refused=isinstance(error, SettingsError))
        # Airflow knows of the sources, too, and how their tasks ended.
        read = _Read(sources=[Source(source=name) for name in sorted(tasks)])
    errors = [with_link(error) for error in read.task_errors]
    why = of_sources(errors)
    sources = worst_first([
        judge_source(source.model_copy(update={"error": why.get(source.source)}), tasks.get(source.source), dag, now,
                     known=read.known)
        for source in read.sources
    ])  # fmt: skip
    models_dag = "cht_sync"
    with suppress(SettingsError):  # the task sources tells of it
        models_dag = settings.models_dag
    return Status(
        at=now,
        timezone=zone(),
        verdict=judge(
            reachable,
            dag,
            now,
            sources=sources,
            groups=read.groups,
            models=read.models,
            models_dag=models_dag,
            unknown=read.unknown,
            task_errors=errors,
            removed=read.removed,
        ),
        destination=reachable,
        unknown=read.unknown,
        dag=dag,
        sources=sources,
        groups=read.groups,
        models=read.models,
        rejects=read.rejects or [],
        rejects_known=read.rejects is not None,
        task_errors=errors,
    )


def without_documents(status: Status) -> Status:
    """The same for who may not see ids of documents.

    :param status: for who may.
    """
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


def is_gone(dag: Dag, tasks: dict[str, Task], now: datetime) -> IsGone:
    """Whether nobody copies a source any more.

    Not by the settings: the API server need not have those of the workers. Only a run that went well names all of its
    sources: a task that waits, or that was lost before it began, has no name.

    :param dag: what Airflow knows of the DAG.
    :param tasks: the newest task of each source.
    :param now: the time, with a zone.
    :return: asks about a source, and when it was last looked at.
    """

    def judged(source: str, looked_at: datetime | None) -> bool:
        if source in tasks:
            return False
        return dag.succeeded_lately or bool(tasks and (looked_at is None or now - looked_at > LATELY))

    return judged


def _read(read: _Read, settings: Settings, dag: Dag, tasks: dict[str, Task], now: datetime) -> None:
    raw, models_role = postgres_connection(settings), dbt_connection(settings)
    with opened(raw, settings, "read the status") as destination:
        try:
            if destination.ask("tables", destination.ready, True):
                _read_all(read, destination, dag, tasks, now)
            else:
                read.sources, read.known = [Source(source=name) for name in sorted(tasks)], True
            if _same_role(raw, models_role):
                read.rejects = destination.ask("rejects", lambda: read_rejects(destination), None)
        finally:
            read.unknown = destination.unknown
    if not _same_role(raw, models_role):
        read.rejects = _rejects_of(models_role, settings, read.unknown)


def _read_all(read: _Read, destination: Open, dag: Dag, tasks: dict[str, Task], now: datetime) -> None:
    read.sources = read_sources(destination, now, tasks, is_gone(dag, tasks, now))
    read.known = destination.knows("sources")
    read.groups = destination.ask("groups", lambda: read_groups(destination), [])
    lag = max((group.lag_seconds for group in read.groups if group.lag_seconds is not None), default=None)
    read.models = destination.ask("models", lambda: read_models(destination, lag), [])
    read.removed = destination.ask("removed", lambda: read_removed(destination), [])
    read.task_errors = destination.ask("task_errors", lambda: read_task_errors(destination, now), [])


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
