"""Finds the documents that make a model fail, by running its query on ever fewer of them."""

from __future__ import annotations

import re
import time
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as PgConnection

from cht_sync.settings.settings import RawTable

MOST_DOCUMENTS = 10
MOST_CANDIDATES = 200_000
PATIENCE_S = 45.0
PATIENCE_OF_A_QUERY = "10s"
# An error that a document's value causes.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_OF_DATA = "22"
_PART = sql.SQL("(select * from {table} where _id = any(%(ids)s))")
# Every column has to be computed, which a bare count would spare itself.
_ALL = sql.SQL("select count((q.*)::text) from ({query}\n) as q")
# A word behind a relation that cannot be its alias.
_NO_ALIAS = (
    "(?:where|join|inner|left|right|full|cross|natural|on|using|group|order|having|limit|offset|union|except"
    "|intersect|window|fetch|for|lateral|tablesample)"
)


def documents_at_fault(
    conn: PgConnection, query: str, raw: RawTable, database: str, *, since: Any = None, known: list[str] | None = None
) -> list[str]:
    """Documents on which a model's query fails, at most ten; empty where it is not the documents.

    The newest 200,000 candidates are looked through, for at most 45 seconds.

    :param conn: connection of the role that runs the models, in autocommit mode.
    :param query: the model's compiled SQL.
    :param since: ``saved_timestamp`` of the model's newest row; None for all documents.
    :param known: what an earlier search found: the answer, where these still fail.
    """
    narrowed = _narrowed(conn, query, raw, database)
    if narrowed is None:
        return []
    search = _Search(conn, narrowed)
    try:
        if known and all(search.fails([each]) for each in known):
            return known
        candidates = search.candidates(raw, since)
        return search.guilty(candidates) if candidates and search.fails(candidates) else []
    except psycopg2.Error:
        # A search that cannot be made is no reason to hide what dbt has said.
        return []


def _narrowed(conn: PgConnection, query: str, raw: RawTable, database: str) -> str | None:
    """The query with the raw table cut down to the ids of a parameter; None where it does not read it."""
    names = [rf'(?:"{re.escape(part)}"|\b{re.escape(part)}\b)' for part in (database, raw.schema, raw.table)]
    table = rf"(?:{names[0]}\s*\.\s*)?{names[1]}\s*\.\s*{names[2]}(?![\w.])"
    reads = rf"(?P<word>\b(?:from|join)\s+){table}(?P<alias>\s+(?:as\s+)?(?!{_NO_ALIAS}\b)[a-z_\"]\w*)?"
    part = _PART.format(table=sql.Identifier(raw.schema, raw.table)).as_string(conn)
    name = sql.Identifier(raw.table).as_string(conn).replace("%", "%%")

    def cut(match: re.Match[str]) -> str:
        return match["word"] + part + (match["alias"] or f" as {name}")

    found, number = re.subn(reads, cut, query.replace("%", "%%"), flags=re.IGNORECASE)
    return found if number else None


class _Search:
    def __init__(self, conn: PgConnection, query: str) -> None:
        self._conn, self._until = conn, time.monotonic() + PATIENCE_S
        self._query = _ALL.format(query=sql.SQL(query.rstrip().rstrip(";")))

    def candidates(self, raw: RawTable, since: Any) -> list[str]:
        newest = sql.SQL(
            "select _id from {} where not _deleted and (%s::timestamp is null or saved_timestamp >= %s)"
            " order by saved_timestamp desc limit %s"
        ).format(sql.Identifier(raw.schema, raw.table))
        with self._conn.cursor() as cursor:
            cursor.execute("select set_config('statement_timeout', %s, false)", (PATIENCE_OF_A_QUERY,))
            cursor.execute(newest, (since, since, MOST_CANDIDATES))
            return [name for (name,) in cursor]

    def fails(self, ids: list[str]) -> bool:
        """Whether the query fails because of one of these documents."""
        try:
            with self._conn.cursor() as cursor:
                cursor.execute(self._query, {"ids": ids})
        except psycopg2.Error as error:
            if (error.pgcode or "").startswith(_OF_DATA):
                return True
            if isinstance(error, psycopg2.errors.QueryCanceled) and len(ids) > 1:
                return True  # too many at once: halves tell
            raise
        return False

    def guilty(self, ids: list[str]) -> list[str]:
        """Halves a list that fails until each guilty document stands alone."""
        found: list[str] = []
        waiting = [ids]
        while waiting and len(found) < MOST_DOCUMENTS and time.monotonic() < self._until:
            group = waiting.pop()
            if len(group) == 1:
                found += group
                continue
            halves = group[: len(group) // 2], group[len(group) // 2 :]
            failing = [half for half in halves if self.fails(half)]
            waiting += failing
        return found
