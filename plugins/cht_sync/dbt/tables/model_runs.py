"""Remembers in Postgres what the last good run of the models has seen."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from airflow.sdk import Connection
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.lookups import relation_exists, value_of
from cht_sync.postgres.query import Names, one_row
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.settings import RawTable

# Models also read what lies beside the table of documents: settings of a second server, the other document of a user.
_NEWEST = """
select greatest(
    (select max(saved_timestamp) from {schema}.{table}), (select max(saved_timestamp) from {schema}.couchdb_collision)
)
"""
_LAST = """
select modelled_to, deployment from {schema}.couchdb_model_run where models_schema = %s and models = %s
"""
_RECORD = """
insert into {schema}.couchdb_model_run (models_schema, models, modelled_to, deployment, newest, succeeded_at)
values (%s, %s, %s, %s, ({newest}), now())
on conflict (models_schema, models) do update
set modelled_to = excluded.modelled_to, deployment = excluded.deployment, newest = excluded.newest,
    succeeded_at = excluded.succeeded_at
returning newest, modelled_to
"""
_LOOK = """
update {schema}.couchdb_model_run set newest = ({newest})
where models_schema = %s and models = %s
returning newest, modelled_to
"""
_WAITING = """
select count(*) from (
    select from {schema}.{table} where %(after)s::timestamp is null or saved_timestamp > %(after)s limit %(most)s
) as waiting
"""
# How far models came that take documents in batches: the starter keeps it in a table of its own, others show it by
# their newest row.
_REACHED = (
    ("dbt_progress", "select modelled_until from {relation} where model = 'document_metadata'"),
    ("document_metadata", "select max(saved_timestamp) from {relation}"),
)


@dataclass(frozen=True, slots=True)
class ModelsState:
    """What is stored and what of it is modelled.

    :param newest: stamp of the newest document, None where there is none.
    :param modelled_to: the newest stamp when the last good run of the models began; None before the first.
    """

    newest: datetime | None
    modelled_to: datetime | None
    deployment: str | None

    def reason_to_run(self, deployment: str) -> str | None:
        """Why the models should run; None where they would find nothing new."""
        if self.newest is None:
            return None
        if self.modelled_to is None:
            return "the models have never completed a run"
        if self.deployment != deployment:
            return "another version of the dbt project is installed"
        return "documents arrived or the last run of the models failed" if self.newest != self.modelled_to else None


class ModelRuns:
    """The table ``couchdb_model_run``.

    :param connection: Airflow connection of the role that writes the raw tables.
    :param models: which models, as a dbt selection; empty for all.
    """

    def __init__(self, connection: Connection, raw: RawTable, models_schema: str, models: str = "") -> None:
        self._connection, self._raw, self._key = connection, raw, (models_schema, models)
        self._names = Names(raw.schema, raw.table)
        self._names["newest"] = self._names.compose(_NEWEST)

    def state(self) -> ModelsState:
        """What is stored and what of it is modelled."""
        with _cursor(self._connection) as cursor:
            tables = self._raw.table, "couchdb_model_run"
            if not all(relation_exists(cursor, self._raw.schema, name) for name in tables):
                return ModelsState(None, None, None)  # nothing was ever copied; only the copy creates tables
            newest = value_of(cursor, self._names["newest"])
            self._names.execute(cursor, _LAST, self._key)
            modelled_to, deployment = cursor.fetchone() or (None, None)
        return ModelsState(newest, modelled_to, deployment)

    def record(self, modelled_to: datetime, deployment: str) -> tuple[datetime | None, datetime | None]:
        """Notes a good run of the models, by the newest stamp when it began; returns that of now, and the models'."""
        with _cursor(self._connection) as cursor:
            self._names.execute(cursor, _RECORD, (*self._key, modelled_to, deployment))
            newest, reached = one_row(cursor)
            return newest, reached

    def look(self) -> tuple[datetime | None, datetime | None]:
        """Notes how far the models are behind after a run that was not good; returns the same, or None for both."""
        with _cursor(self._connection) as cursor:
            self._names.execute(cursor, _LOOK, self._key)
            return cursor.fetchone() or (None, None)

    def waiting(self, after: datetime | None, most: int) -> int:
        """Documents later than a stamp, deleted ones too, counted up to ``most``; of all documents for None."""
        with _cursor(self._connection) as cursor:
            return value_of(cursor, self._names.compose(_WAITING), {"after": after, "most": most})

    def reached(self, connection: Connection) -> datetime | None:
        """The stamp up to which the models have come, where a run takes a batch of documents only; None if unknown.

        Models show the stamp of the last document that they took from the table of documents. Once none waits behind
        it, they have also read the other tables of documents, which may be newer.

        :param connection: of the role that owns the models.
        """
        newest, shown = self.state().newest, self._shown(connection)
        return newest if newest and shown and newest > shown and not self.waiting(shown, 1) else shown

    def _shown(self, connection: Connection) -> datetime | None:
        models_schema = self._key[0]
        with _cursor(connection) as cursor:
            for name, query in _REACHED:
                if relation_exists(cursor, models_schema, name):
                    return value_of(cursor, sql.SQL(query).format(relation=sql.Identifier(models_schema, name)))
        return None


def _cursor(connection: Connection) -> AbstractContextManager[Cursor]:
    """A cursor in a transaction and a connection of its own, which are few: a run asks twice."""
    return transaction(connection, "cht_sync models", "read or write how far the models have come")
