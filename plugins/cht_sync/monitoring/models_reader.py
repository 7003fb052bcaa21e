"""Reads how the models are: their results, how far they have come, tables of models that were removed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cht_sync.dbt.tables.model_results import FAILED, SHRUNK
from cht_sync.monitoring.state import MOST, Group, Model, ModelsRun, ModelWord, RemovedModel, State
from cht_sync.redaction import of_ours

if TYPE_CHECKING:
    from cht_sync.monitoring.destination import Destination

_MODELS = """
select name, status, message, seconds, recent_seconds, row_count, failing_since, documents_at_fault, ended_at, held
from {schema}.couchdb_model_result
where models_schema = %(models_schema)s and {in_use}
order by failing_since is null and held is null, name
"""
# The oldest document that waits, found by the index; not a count.
_LAG = """
select %(selected)s as models, r.succeeded_at, r.modelled_to, w.newest, w.since at time zone 'utc' as waiting_since
from (select true) one
left join {schema}.couchdb_model_run r on r.models_schema = %(models_schema)s and r.models = %(selected)s
cross join lateral (
    select (select max(saved_timestamp) from {schema}.{table}) as newest,
        (select min(saved_timestamp) from {schema}.{table}
            where saved_timestamp > coalesce(r.modelled_to, '-infinity')) as since
) w
"""
# Ordered, so that the planner takes the index: it knows nothing of how few rows lie behind the stamp.
_WAITING = """
select count(*) as waiting from (
    select from {schema}.{table} d where d.saved_timestamp > coalesce(%(after)s::timestamp, '-infinity')
    order by d.saved_timestamp limit %(most)s
) as counted
"""
_RUNS = """
select models_schema, models, succeeded_at, greatest(extract(epoch from (
    select max(saved_timestamp) from {schema}.{table}) - modelled_to)::float8, 0) as lag
from {schema}.couchdb_model_run where models_schema <> %(models_schema)s or models = %(selected)s
"""
_REMOVED = """
select r.key as relation, min(r.value)::timestamptz as since
from {schema}.couchdb_deployment d cross join lateral jsonb_each_text(d.removed) r
where d.models_schema = %(models_schema)s
    and to_regclass(format('%%I.%%I', split_part(r.key, '.', 1), substr(r.key, strpos(r.key, '.') + 1))) is not null
group by 1 order by 1
"""


def read_removed(destination: Destination) -> list[RemovedModel]:
    """Tables of models that the project has no longer, as far as they are still there."""
    if not destination.has("couchdb_deployment", "removed"):
        return []
    return [RemovedModel(**row) for row in destination.rows(_REMOVED, models_schema=destination.settings.dbt_schema)]


def read_lag(destination: Destination) -> tuple[list[Group], list[ModelsRun]]:
    """How far the models of the selection have come; not those of one that DBT_SELECTOR named before."""
    settings = destination.settings
    ours = {"models_schema": settings.dbt_schema, "selected": settings.dbt_selector}
    (lag,) = destination.rows(_LAG, **ours)
    runs = [ModelsRun(**row) for row in destination.rows(_RUNS, **ours)]
    newest, reached = lag["newest"], lag["modelled_to"]
    if newest is None and lag["succeeded_at"] is None:
        return [], runs  # nothing was ever copied, so there is nothing to model
    (row,) = destination.rows(_WAITING, after=reached, most=MOST + 1)
    group = Group(
        models=lag["models"],
        succeeded_at=lag["succeeded_at"],
        modelled_to=reached.replace(tzinfo=UTC) if reached else None,
        lag_seconds=max((newest - reached).total_seconds(), 0.0) if newest and reached else None,
        waiting=row["waiting"],
        waiting_since=lag["waiting_since"],
    )
    return [group], runs


def read_models(destination: Destination, groups: list[Group], now: datetime) -> list[Model]:
    """The newest result of each model, those that need somebody first."""
    lag = max((group.lag_seconds for group in groups if group.lag_seconds is not None), default=None)
    rows = destination.rows(_MODELS, models_schema=destination.settings.dbt_schema)
    return [_model(row, lag, now) for row in rows]


def _model(row: dict[str, Any], lag_seconds: float | None, now: datetime) -> Model:
    state, word = _ended(row)
    since = row["failing_since"]
    return Model(
        name=row["name"],
        state=state,
        word=word,
        message=of_ours(row["held"] or (row["message"] or "" if state != "ok" else "")),
        ended_at=row["ended_at"],
        seconds=row["seconds"],
        recent_seconds=row["recent_seconds"] or [],
        rows=row["row_count"],
        failing_since=since,
        lag_seconds=(now - since).total_seconds() if since and state == "failing" else lag_seconds,
        documents_at_fault=row["documents_at_fault"] or [],
    )


def _ended(row: dict[str, Any]) -> tuple[State, ModelWord]:
    if row["status"] in FAILED:
        return "failing", ModelWord.FAILING
    if row["status"] == SHRUNK:
        return "failing", ModelWord.SHRUNK
    if row["held"]:
        return "paused", ModelWord.HELD
    if row["status"] == "skipped":
        return "paused", ModelWord.WAITING
    return "ok", ModelWord.GOOD
