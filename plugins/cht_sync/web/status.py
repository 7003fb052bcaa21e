"""Puts together what the page shows at a glance."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow.sdk import Connection

from cht_sync.connections import dbt_connection, postgres_connection
from cht_sync.errors import SettingsError, StoreError
from cht_sync.settings import Settings
from cht_sync.web.answers import Dag, Destination, Group, Model, Reject, Source, Status, Task
from cht_sync.web.destination import opened
from cht_sync.web.judge import judge, judge_source, worst_first
from cht_sync.web.models import read_groups, read_models, read_rejects
from cht_sync.web.sources import read_sources

if TYPE_CHECKING:
    from cht_sync.web.destination import Destination as Open


def read_status(dag: Dag, tasks: dict[str, Task], now: datetime | None = None) -> Status:
    """The state of everything; never an error of the destination, but what it says.

    :param dag: what Airflow knows of the DAG.
    :param tasks: the newest task of each source.
    :param now: the time, with a zone; default now.
    """
    now = now or datetime.now(UTC)
    reachable = Destination(reachable=True)
    settings = Settings()
    sources: list[Source] = []
    groups: list[Group] = []
    models: list[Model] = []
    rejects: list[Reject] | None = None
    try:
        raw, models_role = postgres_connection(settings), dbt_connection(settings)
        with opened(raw, settings, "read the status") as destination:
            sources, groups, models = _read(destination, now)
            sources = _as_copied(sources, dag, tasks)
            if _same_role(raw, models_role):
                rejects = read_rejects(destination)
        if not _same_role(raw, models_role):
            rejects = _rejects_of(models_role, settings)
    except (SettingsError, StoreError) as error:
        reachable = Destination(reachable=False, message=str(error))
    judged = worst_first([judge_source(source, tasks.get(source.source), dag, now) for source in sources])
    models_dag = "cht_sync"
    with suppress(SettingsError):  # the task sources tells of it
        models_dag = settings.models_dag
    return Status(
        at=now,
        verdict=judge(reachable, dag, now, sources=judged, groups=groups, models=models, models_dag=models_dag),
        destination=reachable,
        dag=dag,
        sources=judged,
        groups=groups,
        models=models,
        rejects=rejects or [],
        rejects_known=rejects is not None,
    )


def _read(destination: Open, now: datetime) -> tuple[list[Source], list[Group], list[Model]]:
    if not destination.ready():
        return [], [], []
    sources = read_sources(destination, now)
    groups = read_groups(destination)
    lag = max((group.lag_seconds for group in groups if group.lag_seconds is not None), default=None)
    return sources, groups, read_models(destination, lag)


def _as_copied(sources: list[Source], dag: Dag, tasks: dict[str, Task]) -> list[Source]:
    """Marks sources that the newest runs do not copy, and adds those that none could read yet.

    Not by the settings: the API server need not have those of the workers. Only a run that went well names all of its
    sources: a task that waits, or that was lost before it began, has no name.
    """
    unread = [Source(source=name) for name in tasks.keys() - {each.source for each in sources}]
    if dag.succeeded_lately:
        gone = {"copied": False, "load": None}
        sources = [each if each.source in tasks else each.model_copy(update=gone) for each in sources]
    return sources + unread


def _rejects_of(role: Connection, settings: Settings) -> list[Reject] | None:
    """A role for the models that does not work is no reason not to show the copy."""
    with suppress(SettingsError, StoreError), opened(role, settings, "read document_rejects") as destination:
        return read_rejects(destination)
    return None


def _same_role(one: Connection, other: Connection) -> bool:
    fields = ("host", "port", "login", "schema")
    return all(getattr(one, field) == getattr(other, field) for field in fields)
