"""Short, read-only looks into the destination database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from airflow.sdk import Connection
from psycopg2 import sql

from cht_sync.model_results import in_use
from cht_sync.postgres import connect, explained, regclass_text
from cht_sync.postgres_tls import with_extra
from cht_sync.settings import Settings

CONNECT_TIMEOUT_S = 3
STATEMENT_TIMEOUT = "2s"
# The newest relation: before it is there, the copy has not run since the project was put here.
_READY = "select to_regclass({newest}) is not null as there"


class Destination:
    """One read-only transaction in the destination database.

    :param cursor: of it.
    :param settings: the environment.
    """

    def __init__(self, cursor: Any, settings: Settings) -> None:
        self._cursor, self.settings = cursor, settings
        raw = settings.raw_table
        self._names = {
            "schema": sql.Identifier(raw.schema),
            "table": sql.Identifier(raw.table),
            "in_use": in_use(raw.schema),
            "models": sql.Identifier(settings.dbt_schema),
            "newest": sql.Literal(regclass_text(raw.schema, "couchdb_incident")),
            "rejects": sql.Literal(regclass_text(settings.dbt_schema, "document_rejects")),
        }

    def rows(self, text: str, **values: Any) -> list[dict[str, Any]]:
        """Rows by the names of their columns.

        :param text: SQL, in which ``{schema}``, ``{table}`` and ``{models}`` stand for names.
        :param values: its parameters.
        """
        self._cursor.execute(sql.SQL(text).format(**self._names), values)
        names = [column.name for column in self._cursor.description]
        return [dict(zip(names, row, strict=True)) for row in self._cursor]

    def ready(self) -> bool:
        """Whether the tables of the sync are there, of this version or a later one."""
        return bool(self.rows(_READY)[0]["there"])


@contextmanager
def opened(connection: Connection, settings: Settings, doing: str) -> Iterator[Destination]:
    """A read-only transaction that neither waits nor works for long.

    :param connection: of the role that reads.
    :param settings: the environment.
    :param doing: for the text of errors, as in "read the status".
    :raises SettingsError: if role, password, database or a right are refused.
    :raises StoreError: if the server does not answer, or not in time.
    """
    quick = with_extra(connection, {"connect_timeout": CONNECT_TIMEOUT_S})
    with explained(connection, doing), closing(connect(quick, "cht_sync status")) as conn:
        conn.set_session(readonly=True)
        with conn, conn.cursor() as cursor:
            cursor.execute("select set_config('statement_timeout', %s, true)", (STATEMENT_TIMEOUT,))
            yield Destination(cursor, settings)
