"""What the destination knows of the models."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cht_sync.health.models_lag import ModelsLag, read_models_lag
from cht_sync.model_results import FAILED, SHRUNK
from cht_sync.redaction import of_ours
from cht_sync.web.answers import MOST, Group, Model, ModelWord, Reject, State

if TYPE_CHECKING:
    from cht_sync.web.destination import Destination

REJECTS = 10_000
_MODELS = """
select name, status, message, seconds, recent_seconds, row_count, failing_since, documents_at_fault, ended_at, held
from {schema}.couchdb_model_result
where models_schema = %(models_schema)s and {in_use}
order by failing_since is null and held is null, name
"""
# Ordered, so that the planner takes the index: it knows nothing of how few rows lie behind the stamp.
_WAITING = """
select count(*) as waiting from (
    select from {schema}.{table} d where d.saved_timestamp > coalesce(%(after)s::timestamp, '-infinity')
    order by d.saved_timestamp limit %(most)s
) as counted
"""
_HAS_REJECTS = "select to_regclass({rejects}) is not null as there"
# Of the newest ones, where there are very many.
_REJECTS = """
select doc_type, field, reason, count(*)::bigint as documents from (
    select doc_type, field, reason from {models}.document_rejects order by saved_timestamp desc limit %(most)s
) as newest group by 1, 2, 3 order by 4 desc, 1, 2 limit 50
"""


def read_models(destination: Destination, lag_seconds: float | None) -> list[Model]:
    """The newest result of each model, those that need somebody first.

    :param destination: where the results are.
    :param lag_seconds: how far the models are behind the newest document, for those that do well.
    """
    rows = destination.rows(_MODELS, models_schema=destination.settings.dbt_schema)
    return [_model(row, lag_seconds) for row in rows]


def read_groups(destination: Destination) -> list[Group]:
    """How far the models of the selection have come; not those of one that DBT_SELECTOR named before.

    :param destination: where the documents are.
    """
    lag = read_models_lag(destination)
    if lag.newest is None and lag.succeeded_at is None:
        return []  # nothing was ever copied, so there is nothing to model
    (row,) = destination.rows(_WAITING, after=lag.modelled_to, most=MOST + 1)
    return [_group(lag, row["waiting"])]


def read_rejects(destination: Destination) -> list[Reject] | None:
    """How many values of each field the starter models could not use.

    :param destination: as the role that owns the models.
    :return: None where the models have no such table.
    """
    if not destination.rows(_HAS_REJECTS)[0]["there"]:
        return None
    return [Reject(**row) for row in destination.rows(_REJECTS, most=REJECTS)]


def _model(row: dict[str, Any], lag_seconds: float | None) -> Model:
    state, word = _judged(row)
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
        lag_seconds=(datetime.now(UTC) - since).total_seconds() if since and state == "failing" else lag_seconds,
        documents_at_fault=row["documents_at_fault"] or [],
    )


def _judged(row: dict[str, Any]) -> tuple[State, ModelWord]:
    if row["status"] in FAILED:
        return "failing", "Failing"
    if row["status"] == SHRUNK:
        return "failing", "Shrunk: guard closed"
    if row["held"]:
        return "paused", "Held back: guard closed"
    if row["status"] == "skipped":
        return "paused", "Waits for a failing model"
    return "ok", "Good"


def _group(lag: ModelsLag, waiting: int) -> Group:
    newest, reached = lag.newest, lag.modelled_to
    behind = max((newest - reached).total_seconds(), 0.0) if newest and reached else None
    return Group(
        models=lag.models,
        succeeded_at=lag.succeeded_at,
        modelled_to=reached.replace(tzinfo=UTC) if reached else None,
        lag_seconds=behind,
        waiting=waiting,
        waiting_since=lag.waiting_since,
    )
