"""Whether a model has lost more rows than CHT_MODELS_MAX_DROP accepts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection

from cht_sync.postgres.connection import STATEMENT_TIMEOUT
from cht_sync.postgres.lookups import value_of

FEW = 20  # with fewer rows a fifth is a row or two
LARGE = 1_000_000
PATIENCE = "2s"
_ESTIMATE = "select n_live_tup from pg_stat_user_tables where schemaname = %s and relname = %s"


@contextmanager
def limited(conn: PgConnection, timeout: str) -> Iterator[None]:
    """Sets ``statement_timeout`` of a shared connection for a block."""
    with conn.cursor() as cursor:
        cursor.execute("select set_config('statement_timeout', %s, false)", (timeout,))
    try:
        yield
    finally:
        with conn.cursor() as cursor:
            cursor.execute("select set_config('statement_timeout', %s, false)", (STATEMENT_TIMEOUT,))


class RowCounts:
    """Counts tables and compares; ``most_drop`` percent may be missing between two runs, 100 for any number."""

    def __init__(self, conn: PgConnection, accepted: Mapping[str, int], most_drop: int) -> None:
        self._conn, self._accepted, self._most_drop = conn, accepted, most_drop

    def count(self, schema: str, table: str) -> int | None:
        """Rows of a table; of one with a million or more, what Postgres estimates.

        Source: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW

        :return: None where it cannot be known.
        """
        try:
            with limited(self._conn, PATIENCE), self._conn.cursor() as cursor:
                rows: int | None = value_of(cursor, _ESTIMATE, (schema, table))
                if not rows or rows < LARGE:
                    # The estimate is nothing after a crash: counting tells, where it is quick.
                    rows = value_of(cursor, sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table)))
                return rows
        except psycopg2.Error:
            return None

    def complaint(self, model: str, name: str, rows: int | None) -> str:
        """A sentence about a model that lost rows; empty where nothing is wrong."""
        before = self._accepted.get(model)
        if rows is None or before is None or before < FEW or rows >= before * (100 - self._most_drop) / 100:
            return ""
        return (
            f"{name} fell from {before:,} to {rows:,} rows ({(rows - before) / before:.0%}), which is more than"
            f" CHT_MODELS_MAX_DROP={self._most_drop} percent: find out why, or trigger a run with lift_guard if it is"
            " right; until then nothing that is scheduled on this model starts."
        )
