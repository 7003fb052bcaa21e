"""Queries with names in braces, and their answers."""

from __future__ import annotations

from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor


class Names(dict[str, sql.Composable]):
    """What stands for names in braces in SQL texts, quoted: ``select max(saved_timestamp) from {schema}.{table}``.

    :param more: what else is to be put in, by what stands in braces.
    """

    def __init__(self, schema: str, table: str = "", **more: sql.Composable) -> None:
        super().__init__(schema=sql.Identifier(schema), **more)
        self.schema, self.table = schema, table
        if table:
            self["table"] = sql.Identifier(table)

    def compose(self, text: str, **more: sql.Composable) -> sql.Composed:
        """A query with everything in its place."""
        return sql.SQL(text).format(**self, **more)

    def execute(self, cursor: Cursor, text: str, values: Any = None, **more: sql.Composable) -> Cursor:
        """Runs a query that :meth:`compose` makes; gives back the cursor, to read the answer from."""
        cursor.execute(self.compose(text, **more), values)
        return cursor

    def row(self, cursor: Cursor, text: str, values: Any = None, **more: sql.Composable) -> tuple[Any, ...]:
        """The row of such a query, which always gives one."""
        return one_row(self.execute(cursor, text, values, **more))

    def value(self, cursor: Cursor, text: str, values: Any = None, **more: sql.Composable) -> Any:
        """The first column of that row."""
        return self.row(cursor, text, values, **more)[0]


def one_row(cursor: Cursor) -> tuple[Any, ...]:
    """The row that a query gives which always gives one."""
    if (row := cursor.fetchone()) is None:
        raise LookupError("PostgreSQL gave no row where there always is one.")
    return row
