"""Tables and views as a swap sees them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.redaction import message_of

KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view"}
# Another try may succeed where one of these ended the first: they say nothing of what was tried.
PASSING = (
    psycopg2.errors.LockNotAvailable,
    psycopg2.errors.QueryCanceled,
    psycopg2.errors.DeadlockDetected,
)
_FIND = """
select c.oid, n.nspname::text, c.relname::text, c.relkind::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s and c.relkind in ('r', 'p', 'v', 'm')
"""
_COLUMNS = "select attname::text from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view or materialized view.

    :param kind: ``relkind``.
    """

    oid: int
    schema: str
    name: str
    kind: str

    @property
    def text(self) -> str:
        """Its name for messages."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name for a statement."""
        return sql.Identifier(self.schema, self.name)

    @property
    def word(self) -> sql.SQL:
        """Its kind for a statement."""
        return sql.SQL(KINDS[self.kind])

    def alter(self, clause: str, *names: sql.Composable) -> sql.Composed:
        """``alter table ...`` or the like; braces in the clause stand for ``names``."""
        return sql.SQL("alter {} {} ").format(self.word, self.identifier) + sql.SQL(clause).format(*names)


def find(cursor: Cursor, schema: str, name: str) -> Relation | None:
    """The relation of a name, where it is there."""
    cursor.execute(_FIND, (schema, name))
    row = cursor.fetchone()
    return Relation(*row) if row else None


def columns(cursor: Cursor, oid: int) -> set[str]:
    """The columns of a relation."""
    cursor.execute(_COLUMNS, (oid,))
    return {row[0] for row in cursor.fetchall()}


def tried(cursor: Cursor, *statements: Any) -> str:
    """Executes statements, all or none; returns Postgres' message without values of rows, empty where all went well."""
    cursor.execute("savepoint tried")
    try:
        for statement in statements:
            cursor.execute(statement)
    except psycopg2.Error as error:
        if isinstance(error, PASSING) or error.pgcode is None:
            raise
        cursor.execute("rollback to savepoint tried")
        return message_of(error)
    cursor.execute("release savepoint tried")
    return ""


def lost_of(cursor: Cursor, steps: Iterable[tuple[str, sql.Composed]]) -> list[str]:
    """Executes statements of which each may fail; returns what is lost without those that did, each with why."""
    return [f"{what} ({said})" for what, statement in steps if (said := tried(cursor, statement))]
