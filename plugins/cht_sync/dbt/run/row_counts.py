"""Whether a model still holds as many rows as is believed without asking a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import sql

from cht_sync.postgres.connection import STATEMENT_TIMEOUT

FEW = 20  # with fewer rows a fifth is a row or two
LARGE = 1_000_000
PATIENCE = "2s"
_ESTIMATE = "select n_live_tup from pg_stat_user_tables where schemaname = %s and relname = %s"


@contextmanager
def limited(conn: Any, timeout: str) -> Iterator[None]:
    """Bounds statements of a shared connection for a block.

    :param conn: in autocommit mode.
    :param timeout: as Postgres writes it.
    """
    with conn.cursor() as cursor:
        cursor.execute("select set_config('statement_timeout', %s, false)", (timeout,))
    try:
        yield
    finally:
        with conn.cursor() as cursor:
            cursor.execute("select set_config('statement_timeout', %s, false)", (STATEMENT_TIMEOUT,))


class RowCounts:
    """Counts tables and compares with what was accepted before.

    :param conn: connection of the role that owns the models, in autocommit mode.
    :param accepted: rows that each model is held to, by unique id.
    :param most_drop: percent that may be missing between two runs; 100 for any number.
    """

    def __init__(self, conn: Any, accepted: Mapping[str, int], most_drop: int) -> None:
        self._conn, self._accepted, self._most_drop = conn, accepted, most_drop

    def count(self, schema: str, table: str) -> int | None:
        """Rows of a table; of one with a million or more, what Postgres estimates.

        Source: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ALL-TABLES-VIEW

        :param schema: of the table.
        :param table: its name.
        :return: None where it cannot be told.
        """
        try:
            with limited(self._conn, PATIENCE):
                estimate = self._value(_ESTIMATE, schema, table)
                if estimate and estimate >= LARGE:
                    return estimate
                # The estimate is nothing after a crash: counting tells, where it is quick.
                return self._value(sql.SQL("select count(*) from {}").format(sql.Identifier(schema, table)))
        except psycopg2.Error:
            return None

    def complaint(self, model: str, name: str, rows: int | None) -> str:
        """What is to be said of a model that lost rows.

        :param model: unique id.
        :param name: name of the model.
        :param rows: it has now.
        :return: one sentence; empty where nothing is wrong.
        """
        before = self._accepted.get(model)
        if rows is None or before is None or before < FEW or rows >= before * (100 - self._most_drop) / 100:
            return ""
        return (
            f"{name} fell from {before:,} to {rows:,} rows ({(rows - before) / before:.0%}), which is more than"
            f" CHT_MODELS_MAX_DROP={self._most_drop} percent: find out why, or trigger a run with lift_guard (Allow"
            " row loss) if it is right; until then nothing that is scheduled on this model starts."
        )

    def _value(self, statement: Any, *values: Any) -> int | None:
        with self._conn.cursor() as cursor:
            cursor.execute(statement, values or None)
            row = cursor.fetchone()
        return row[0] if row else None
