"""The store that gives a source another name, in every table and in one transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.query import one_row
from cht_sync.store.collisions import Collisions
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.first_load_plan import LoadParts
from cht_sync.store.quarantine import Quarantine
from cht_sync.store.silent_triggers import not_stored
from cht_sync.store.task_errors import forget_subject

# To rewrite a hundred million rows takes hours, and is done as a whole or not at all.
_NO_LIMIT = "set local statement_timeout = 0"
_EVERY_KEY = (b"", b"\xff" * 33)
_IS_KNOWN = """
select exists (select from {schema}.couchdb_progress where source = %(old)s)
    or exists (select from {schema}.{table} where source = %(old)s)
    or exists (select from {schema}.couchdb_collision where source = %(old)s)
"""
# Of documents that were stored under both names those states count that the checkpoint which is kept belongs to: what
# has changed since comes with the feed. A source that was read under its new name keeps that checkpoint.
_NEW_COUNTS = """
select exists (select from {schema}.couchdb_progress where source = %(new)s and seq is not null)
    or not exists (select from {schema}.couchdb_progress where source = %(old)s)
"""
_COUNT = "select count(*) from {relation} where source = %(old)s"
_RENAME_STAMPED = "update {relation} set source = %(new)s, saved_timestamp = %(stamp)s where source = %(old)s"
_RENAME = "update {relation} set source = %(new)s where source = %(old)s"
_FORGET_DOUBLE = """
delete from {relation} lost using {relation} kept where lost.source = %(loser)s and kept.source = %(winner)s{same}
"""
# Every other table with the name of a source; couchdb_deployment means that of a dbt project.
_OTHERS = """
select c.relname, array(
    select a.attname from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = any(i.indkey)
    where i.indrelid = c.oid and i.indisprimary
)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_attribute s on s.attrelid = c.oid and s.attname = 'source' and not s.attisdropped
where n.nspname = %s and c.relkind = 'r' and (c.relname like 'couchdb\\_%%' or c.relname = 'form_definition')
    and c.relname not in (%s, 'couchdb_collision', 'couchdb_deployment')
order by c.relname
"""


@dataclass(frozen=True, slots=True)
class Renamed:
    """What was renamed, or would be; ``new_counts``: whether states under the new name win."""

    old: str
    new: str
    counts: dict[str, int]
    in_both: int
    new_counts: bool

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} in {table}" for table, number in self.counts.items() if number)
        text = f"{self.old} -> {self.new}: {counts or 'no rows'}"
        if self.in_both:
            kept = self.new if self.new_counts else self.old
            text += f"; {self.in_both:,} documents are there under both names, of which the states of {kept} count"
        return f"{text}."


class RenamingStore(DocumentStore):
    """Renames sources; its parameters are those of :class:`cht_sync.store.document_store.DocumentStore`."""

    def knows(self, source: str) -> bool:
        """Whether anything of a source is stored."""
        values = {"old": source}
        return self._session.ask("look for a source", lambda cursor: self._names.value(cursor, _IS_KNOWN, values))

    def would_rename(self, pairs: Iterable[tuple[str, str]]) -> list[Renamed]:
        """What :meth:`rename` would do; writes nothing."""
        return self._session.ask("count the rows of a source", lambda cursor: [self._found(cursor, *p) for p in pairs])

    def rename(self, pairs: Iterable[tuple[str, str]]) -> list[Renamed]:
        """Gives sources another name, all of them or none.

        Rows get a new ``saved_timestamp``, so that models see the name. No sync and no repair has such a source
        meanwhile, and nobody else writes documents until it is done.
        """
        pairs = list(pairs)
        for pair in pairs:
            for source in pair:
                self.claim(source)
        with self._session.transaction("rename a source") as cursor:
            cursor.execute(_NO_LIMIT)
            stamp = self._writer.turn(cursor)
            found = [self._found(cursor, *pair) for pair in pairs]
            for each in found:
                self._rename(cursor, each, stamp)
            # The new name may come elsewhere in the order of the sources.
            Collisions(self._names).settle_again(cursor, _EVERY_KEY, stamp)
        return found

    def _found(self, cursor: Cursor, old: str, new: str) -> Renamed:
        values, counts = {"old": old, "new": new}, {}
        for table in [self._raw.table, "couchdb_collision", *self._others(cursor)]:
            counts[table] = one_row(self._execute(cursor, table, _COUNT, values))[0]
        in_both = Collisions(self._names).in_both(cursor, old, new)
        return Renamed(old, new, counts, in_both, self._names.value(cursor, _NEW_COUNTS, values))

    def _rename(self, cursor: Cursor, pair: Renamed, stamp: Any) -> None:
        loser, winner = (pair.old, pair.new) if pair.new_counts else (pair.new, pair.old)
        values = {"old": pair.old, "new": pair.new, "loser": loser, "winner": winner, "stamp": stamp}
        Quarantine(self._names).resolve_of(cursor, loser, winner)
        Collisions(self._names).unite(cursor, loser, winner, pair.new, stamp)
        LoadParts(self._names, loser).forget(cursor)
        # What failed under the old name will neither fail nor succeed under it again.
        forget_subject(cursor, self._raw.schema, pair.old)
        for table in (self._raw.table, "couchdb_collision"):
            self._execute(cursor, table, _RENAME_STAMPED, values)
        for table, key in self._others(cursor).items():
            if "source" in key:
                same = [sql.SQL(" and lost.{0} = kept.{0}").format(sql.Identifier(name)) for name in key - {"source"}]
                self._execute(cursor, table, _FORGET_DOUBLE, values, same=sql.Composed(same))
            self._execute(cursor, table, _RENAME, values)
        if left := one_row(self._execute(cursor, self._raw.table, _COUNT, values))[0]:
            raise not_stored(cursor, self._names, left, pair.counts[self._raw.table])

    def _others(self, cursor: Cursor) -> dict[str, set[str]]:
        """Names of the tables with the columns of their keys."""
        cursor.execute(_OTHERS, (self._raw.schema, self._raw.table))
        return {table: set(key) for table, key in cursor.fetchall()}

    def _execute(self, cursor: Cursor, table: str, text: str, values: dict[str, Any], **more: sql.Composable) -> Cursor:
        relation = sql.Identifier(self._raw.schema, table)
        return self._names.execute(cursor, text, values, relation=relation, **more)
