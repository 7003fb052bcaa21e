"""The table ``couchdb_model_result``: how each model ended the last time, and since when it fails."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from airflow.sdk import Connection
from psycopg2 import sql

from cht_sync.postgres.lookups import column_exists
from cht_sync.postgres.query import Names
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.settings import RawTable

FAILED = ("error", "fail", "runtime error", "partial success")
SHRUNK = "shrunk"
_AT_FAULT = " (documents at fault: "
_RECORD = """
insert into {schema}.couchdb_model_result as last (models_schema, model, name, status, message, seconds, row_count,
    accepted_row_count, failing_since, failures, documents_at_fault, ended_at, recent_seconds)
values (%(models_schema)s, %(model)s, %(name)s, %(status)s, %(message)s, %(seconds)s, %(rows)s::bigint,
    case when %(status)s = 'success' then %(rows)s::bigint end,
    case when %(failed)s then now() end, case when %(failed)s then 1 else 0 end, %(at_fault)s::varchar[], now(),
    case when %(ran)s then array[%(seconds)s::double precision] end)
on conflict (models_schema, model) do update
set name = excluded.name, status = excluded.status, message = excluded.message, seconds = excluded.seconds,
    row_count = coalesce(excluded.row_count, last.row_count),
    accepted_row_count = coalesce(excluded.accepted_row_count, last.accepted_row_count),
    failing_since = case when %(failed)s then coalesce(last.failing_since, now()) end,
    failures = case when %(failed)s then last.failures + 1 else 0 end,
    documents_at_fault = excluded.documents_at_fault, ended_at = excluded.ended_at, held = null,
    recent_seconds = (last.recent_seconds || excluded.recent_seconds)[
        greatest(coalesce(cardinality(last.recent_seconds || excluded.recent_seconds), 0) - 29, 1):]
"""
_IN_USE = """ended_at > (
    select max(newest.ended_at) - interval '7 days' from {schema}.couchdb_model_result newest
    where newest.models_schema = couchdb_model_result.models_schema
)"""
_FAILING = """
select model, name, message, failing_since, documents_at_fault from {schema}.couchdb_model_result
where models_schema = %(models_schema)s and status = any(%(states)s)
    and {in_use}
order by model
"""
_TROUBLES = """
select name, status, message from {schema}.couchdb_model_result
where models_schema = %s and status = any(%s) and ended_at > now() - make_interval(secs => %s) order by name
"""
_ACCEPTED = "select model, accepted_row_count from {schema}.couchdb_model_result where models_schema = %s"
_HOLD = """
update {schema}.couchdb_model_result set held = %(why)s
where models_schema = %(models_schema)s and model = any(%(held)s)
"""
_FORGET = "delete from {schema}.couchdb_model_result where models_schema = %s and model = any(%s)"


def with_ids(message: str, ids: Collection[str]) -> str:
    """What is said of a model that fails, with the documents that it fails on, whose ids must fit a line of a log."""
    return f"{message}{_AT_FAULT}{', '.join(ids)})" if ids else message


def without_ids(message: str) -> str:
    """The same without ids of documents and all that stands behind them, as an id may hold any sign."""
    said, found, _ids = message.partition(_AT_FAULT)
    return f"{said}{found}…)" if found else message


def in_use(schema: str) -> sql.Composed:
    """The condition, for a query without aliases, that leaves out models that ``DBT_SELECTOR`` does not name any more.

    They must not block others, or raise alerts, for ever.
    """
    return Names(schema).compose(_IN_USE)


@dataclass(frozen=True, slots=True)
class ModelResult:
    """How one model ended.

    :param model: dbt's unique id.
    :param status: dbt's word, or ``shrunk``.
    :param rows: rows of its table afterwards, where they were counted.
    :param at_fault: ids of documents that it fails on.
    """

    model: str
    name: str
    status: str
    message: str = ""
    seconds: float | None = None
    rows: int | None = None
    at_fault: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        """Whether dbt failed on this very model."""
        return self.status in FAILED


@dataclass(frozen=True, slots=True)
class Failing:
    """A model that failed the last time.

    :param since: when it failed for the first time after a success.
    :param at_fault: ids of documents that it fails on.
    """

    name: str
    message: str
    since: datetime
    at_fault: list[str]


class ModelResults:
    """The table, for the models of one schema.

    :param connection: Airflow connection of the role that writes the raw tables.
    """

    def __init__(self, connection: Connection, raw: RawTable, models_schema: str) -> None:
        self._connection, self._models_schema = connection, models_schema
        self._names = Names(raw.schema, in_use=in_use(raw.schema))

    def record(self, results: Collection[ModelResult]) -> None:
        """Notes how models ended; those that did not run keep what they had."""
        values = (
            {
                **asdict(one),
                "models_schema": self._models_schema,
                "message": one.message[:2000],
                "failed": one.failed or one.status == SHRUNK,
                "at_fault": one.at_fault or None,
                "ran": one.seconds is not None and one.status != "skipped",
            }
            for one in results
        )
        self._rows(_RECORD, *values)

    def failing(self) -> dict[str, Failing]:
        """Models that failed the last time they ran, by unique id."""
        rows = self._rows(_FAILING, {"models_schema": self._models_schema, "states": list(FAILED)})
        return {
            model: Failing(name, message or "", since, at_fault or []) for model, name, message, since, at_fault in rows
        }

    def troubles(self, seconds: float) -> list[str]:
        """A sentence for each model that failed or shrank in the last seconds."""
        rows = self._rows(_TROUBLES, (self._models_schema, [*FAILED, SHRUNK], seconds))
        return [message if status == SHRUNK else f"{name}: {message}" for name, status, message in rows]

    def accepted(self) -> dict[str, int]:
        """Rows that each model is held to, by unique id; without those that were never counted."""
        rows = self._rows(_ACCEPTED, (self._models_schema,))
        return {model: accepted for model, accepted in rows if accepted is not None}

    def hold(self, models: Collection[str], why: str) -> None:
        """Notes which models a run holds back, until they run again."""
        self._rows(_HOLD, {"models_schema": self._models_schema, "held": list(models), "why": why[:2000]})

    def forget(self, models: Collection[str]) -> None:
        """Drops what is known of models that are not in the project any more."""
        self._rows(_FORGET, (self._models_schema, list(models)))

    def _rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Runs a query with each of the values, in one transaction; returns the rows of the last.

        Nothing is done where the table is not there, since only the copy makes tables, or lacks its newest column:
        after an upgrade the models may run before the copy has brought it up to date.
        """
        with transaction(self._connection, "cht_sync models", "read or write how the models ended") as cursor:
            if not column_exists(cursor, self._names.schema, "couchdb_model_result", "held"):
                return []
            for each in values:
                self._names.execute(cursor, query, each)
            return cursor.fetchall() if cursor.description else []
