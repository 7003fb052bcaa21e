"""The table ``couchdb_source``: which source has the row where several hold the same _id."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import psycopg2
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.query import Names
from cht_sync.store.collisions import Collisions

if TYPE_CHECKING:
    from cht_sync.postgres.session import PatientSession
    from cht_sync.store.page_writer import PageWriter

AT_A_TIME = 1000
_ORDER = "select source, settled_at is not null from {schema}.couchdb_source order by rank, source"
_ORDER_ANEW = """
delete from {schema}.couchdb_source;
insert into {schema}.couchdb_source (source, rank)
select source, rank from unnest(%s::varchar[]) with ordinality as wanted (source, rank)
"""
_SETTLED = "update {schema}.couchdb_source set settled_at = now()"
# Not max(key), which knows bytea from PostgreSQL 18 on.
_LAST = """
select (array_agg(key order by key desc))[1] from (
    select key from {schema}.couchdb_collision where key > %s order by key limit %s
) as next
"""
log = logging.getLogger(__name__)


class SourceOrder:
    """Keeps the order of the sources, and moves rows where it has changed."""

    def __init__(self, session: PatientSession, names: Names, writer: PageWriter) -> None:
        self._session, self._names, self._writer = session, names, writer

    def apply(self, sources: list[str]) -> int:
        """Stores an order and moves rows to the source that comes first, some at a time; returns how many."""
        doing = "order the sources in couchdb_source"
        if self._session.ask(doing, self._read) == (sources, True):
            return 0
        self._session.ask(doing, partial(self._write, sources=sources))
        moved = 0
        after: bytes | None = b""
        while after is not None:
            number, after = self._session.ask(doing, partial(self._move, after=after))
            moved += number
        self._session.ask(doing, partial(self._settle, sources=sources))
        if moved:
            log.info("The order of the sources has changed: %s rows belong to another one now.", f"{moved:,}")
        return moved

    def _read(self, cursor: Cursor) -> tuple[list[str], bool]:
        rows = self._names.execute(cursor, _ORDER).fetchall()
        return [source for source, _ in rows], all(settled for _, settled in rows)

    def _write(self, cursor: Cursor, sources: list[str]) -> None:
        # Behind the page that is being stored, and before the next one.
        self._writer.turn(cursor)
        if self._read(cursor)[0] != sources:
            self._names.execute(cursor, _ORDER_ANEW, (sources,))

    def _move(self, cursor: Cursor, after: bytes) -> tuple[int, bytes | None]:
        stamp = self._writer.turn(cursor)
        last = self._names.value(cursor, _LAST, (psycopg2.Binary(after), AT_A_TIME))
        if last is None:
            return 0, None
        return Collisions(self._names).settle_again(cursor, (after, bytes(last)), stamp), bytes(last)

    def _settle(self, cursor: Cursor, sources: list[str]) -> None:
        """Notes the end, unless somebody has brought another order meanwhile."""
        self._writer.turn(cursor)
        if self._read(cursor)[0] == sources:
            self._names.execute(cursor, _SETTLED)
