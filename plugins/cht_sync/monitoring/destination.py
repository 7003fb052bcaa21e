"""Short, read-only looks into the destination database."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from time import monotonic
from typing import Any, TypeVar

import psycopg2
from airflow.sdk import Connection
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.tables.model_results import in_use
from cht_sync.monitoring.blocking import Blocker, blockers
from cht_sync.monitoring.parts import REJECTS, PartName, Unknown, Why, tables_of, unknown, why_unknown
from cht_sync.postgres.connection import connect, explained, is_lost, regclass_text
from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.query import Names
from cht_sync.redaction import message_of
from cht_sync.settings.connections import with_extra
from cht_sync.settings.settings import Settings

T = TypeVar("T")
U = TypeVar("U")
CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT_S = 2.0
# A lock is told from work that takes long by the shorter time.
LOCK_TIMEOUT_S = 1.0
# Each part may wait; all of them together may not keep the reader.
ALL_S = 12.0
# The newest relation: before it is there, the copy has not run since the project was put here.
_NEWEST = "couchdb_incident"
_HAS_COLUMN = """
select exists (select from pg_attribute where attrelid = to_regclass(%(table)s) and attname = %(column)s
    and not attisdropped) as there
"""
# When this process last knew each part, by where it is: what is not known any more can say since when.
_known: dict[tuple[str, PartName], datetime] = {}


class Destination:
    """A session in the destination database that reads and never writes.

    :param cursor: of it, outside of transactions, so that a statement that fails ends nothing else.
    :param all_s: seconds after which no further part is asked for.
    """

    def __init__(self, cursor: Cursor, settings: Settings, connection: Connection, all_s: float = ALL_S) -> None:
        self._cursor, self.settings, self._connection = cursor, settings, connection
        self._until, self.unknown = monotonic() + all_s, list[Unknown]()
        raw, models = settings.raw_table, sql.Identifier(settings.dbt_schema)
        self._names = Names(raw.schema, raw.table, in_use=in_use(raw.schema), models=models)

    def rows(self, text: str, **values: Any) -> list[dict[str, Any]]:
        """Rows by the names of their columns.

        :param text: SQL, in which ``{schema}``, ``{table}`` and ``{models}`` stand for names.
        """
        self._names.execute(self._cursor, text, values)
        names = [column.name for column in self._cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in self._cursor]

    def ready(self) -> bool:
        """Whether the tables of the sync are there, of this version or a later one."""
        return relation_exists(self._cursor, self.settings.raw_table.schema, _NEWEST)

    def has_rejects(self) -> bool:
        """Whether the models have a table of rejected values."""
        return relation_exists(self._cursor, self.settings.dbt_schema, REJECTS)

    def has(self, table: str, column: str) -> bool:
        """Whether a table of the sync has a column: the copy makes what is new, and may not have run yet."""
        values = {"table": regclass_text(self.settings.raw_table.schema, table), "column": column}
        return bool(self.rows(_HAS_COLUMN, **values)[0]["there"])

    def ask(self, part: PartName, question: Callable[[], T], otherwise: U) -> T | U:
        """The answer about a part; where it cannot be had, ``otherwise``, and ``unknown`` tells why.

        :raises psycopg2.Error: if the connection is lost.
        """
        if monotonic() > self._until:
            self._note(part, "slow", "the parts before it took too long")
            return otherwise
        try:
            answer = question()
        except psycopg2.Error as error:
            if is_lost(error):
                raise
            self._note(part, why_unknown(error), message_of(error))
            return otherwise
        _known[self._where, part] = datetime.now(UTC)
        return answer

    def knows(self, part: PartName) -> bool:
        """Whether a part that was asked for is known."""
        return all(each.part != part for each in self.unknown)

    @property
    def _where(self) -> str:
        return f"{self._connection.host}:{self._connection.port}/{self._connection.schema}"

    def _note(self, part: PartName, why: Why, said: str) -> None:
        tables = tables_of(part, self.settings)
        role, since = str(self._connection.login), _known.get((self._where, part))
        found = self._blockers(tables) if why in {"locked", "slow"} and tables else []
        self.unknown.append(unknown(part, why, found, tables=tables, said=said, role=role, since=since))

    def _blockers(self, tables: list[tuple[str, str]]) -> list[Blocker]:
        try:
            return blockers(self._cursor, tables)
        except psycopg2.Error as error:  # the part stays unknown without a name
            if is_lost(error):
                raise
            return []


@contextmanager
def opened(
    connection: Connection,
    settings: Settings,
    doing: str,
    *,
    application: str = "cht_sync status",
    connect_s: int = CONNECT_TIMEOUT_S,
    statement_s: float = STATEMENT_TIMEOUT_S,
    lock_s: float = LOCK_TIMEOUT_S,
    all_s: float = ALL_S,
) -> Iterator[Destination]:
    """A read-only session that neither waits nor works for long.

    :param doing: for the text of errors, as in "read the status".
    :param application: what ``pg_stat_activity`` shows.
    :param connect_s: seconds that the server may take to answer.
    :param statement_s: seconds that a statement may take.
    :param lock_s: seconds that it may wait for a lock.
    :param all_s: seconds after which no further part is asked for.
    :raises SettingsError: if role, password, database or a right are refused.
    :raises StoreError: if the server does not answer, or not in time.
    """
    quick = with_extra(connection, {"connect_timeout": connect_s})
    with explained(connection, doing), closing(connect(quick, application)) as conn:
        conn.set_session(readonly=True, autocommit=True)
        with conn.cursor() as cursor:
            limits = (f"{round(statement_s * 1000)}ms", f"{round(lock_s * 1000)}ms")
            cursor.execute(
                "select set_config('statement_timeout', %s, false), set_config('lock_timeout', %s, false)", limits
            )
            yield Destination(cursor, settings, connection, all_s)
