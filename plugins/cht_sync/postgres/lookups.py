"""Questions to PostgreSQL that one value answers."""

from __future__ import annotations

from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.connection import regclass_text

_COLUMN = """
select exists (select from pg_attribute where attrelid = to_regclass(%s) and attname = %s and not attisdropped)
"""


def value_of(cursor: Cursor, query: str | sql.Composable, values: Any = None) -> Any:
    """The first column of the first row that a query gives; None where it gives no row.

    :param values: parameters of the query, as ``cursor.execute`` takes them.
    """
    cursor.execute(query, values)
    row = cursor.fetchone()
    return row[0] if row else None


def column_exists(cursor: Cursor, schema: str, table: str, column: str) -> bool:
    """Whether a table is there and has a column, for one that a migration has added."""
    return bool(value_of(cursor, _COLUMN, (regclass_text(schema, table), column)))


def relation_exists(cursor: Cursor, schema: str, name: str) -> bool:
    """Whether a table, view or the like is there and the role may see its schema."""
    return bool(value_of(cursor, "select to_regclass(%s) is not null", (regclass_text(schema, name),)))
