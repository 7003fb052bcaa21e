"""Cuts what is stored of deleted documents down to stubs, where it was stored before stubs were wanted.

Rows keep their ``saved_timestamp``: models take of a tombstone that it is one, which does not change, and with a new
stamp all of them would read every deleted document again for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg2 import sql

from cht_sync.connections import postgres_connection
from cht_sync.errors import SettingsError
from cht_sync.page import Change, Revision
from cht_sync.page_decoder import name_of
from cht_sync.rows import stub_of
from cht_sync.schema import Schema
from cht_sync.settings import Settings
from cht_sync.store import DocumentStore
from cht_sync.swallowed import not_stored

# Rows that are looked for at once, and that one transaction cuts.
LOOK, STEP = 50_000, 500
_Entry = tuple[str, bytes]
_FIRST: _Entry = ("", b"")
_STUB = sql.SQL("jsonb_build_object('_id', _id, '_rev', doc->'_rev', '_deleted', true)")
_IS_WHOLE = sql.SQL("_deleted and doc is distinct from {}").format(_STUB)
_COUNT = """
select (select count(*) from {schema}.{table} where {is_whole}),
    (select count(*) from {schema}.couchdb_collision where {is_whole})
"""
_FIND = "select _id from {schema}.{table} where _id > %s and {is_whole} order by _id limit %s"
_FIND_COLLISIONS = """
select key, source from {schema}.couchdb_collision where (key, source) > (%s, %s) and {is_whole}
order by key, source limit %s
"""
# A look that takes a moment, whatever there is.
_SOME = """
select exists (
    select from (select _id, _deleted, doc from {schema}.{table} where _deleted limit 1000) first where {is_whole}
)
"""
# Asked again, for it may live by now. A trigger may make of a stub what was there before.
_CUT = """
with wanted (name, was) as (select _id, doc from {schema}.{table} where _id = any(%s) and {is_whole}),
cut as (
    update {schema}.{table} set doc = {stub} from wanted where _id = name and {is_whole} returning _id, doc, was
)
select (select count(*) from wanted), count(*), count(*) filter (where doc is distinct from was) from cut
"""
_CUT_COLLISIONS = """
with wanted (k, s, was) as (
    select key, source, doc from {schema}.couchdb_collision
    where (key, source) in (select * from unnest(%s::bytea[], %s::varchar[])) and {is_whole}
), cut as (
    update {schema}.couchdb_collision set doc = {stub} from wanted where key = k and source = s and {is_whole}
    returning doc, was
)
select (select count(*) from wanted), count(*), count(*) filter (where doc is distinct from was) from cut
"""
# Entries of documents that are stored as tombstones: closed ones, and what could not be stored of just that tombstone.
_CLOSED = """
select q.source, q.key from {schema}.couchdb_quarantine q
cross join lateral (
    select _deleted, doc from {schema}.{table} s where s._id = q._id and s.source = q.source
    union all select _deleted, doc from {schema}.couchdb_collision c where c.key = q.key and c.source = q.source
) stored
where q.body_bytes > 0 and q.key = sha256(convert_to(q._id, 'UTF8')) and stored._deleted
    and (q.resolved_at is not null or q._rev is not distinct from stored.doc->>'_rev')
    and (q.source, q.key) > (%s, %s)
order by q.source, q.key limit %s
"""
_FORGET = """
update {schema}.couchdb_quarantine set body = '', body_bytes = 0, resolved_at = coalesce(resolved_at, now())
where (source, key) = (%s, %s) returning body_bytes = 0
"""
# Others may be of documents that cannot be stored at all, not even as tombstones.
_OTHERS = """
select source, key from {schema}.couchdb_quarantine q
where body_bytes > 0 and (source, key) > (%s, %s)
    and not exists (select from {schema}.{table} s where s._id = q._id and s.source = q.source and s._deleted)
    and not exists (
        select from {schema}.couchdb_collision c where c.key = q.key and c.source = q.source and c._deleted
    )
order by source, key limit %s
"""
_READ = """
select attempts, body || coalesce((
    select string_agg(p.body, '' order by part) from {schema}.couchdb_quarantine_part p
    where (p.source, p.key) = (q.source, q.key)
), '') from {schema}.couchdb_quarantine q where (source, key) = (%s, %s)
"""
_REPLACE = """
update {schema}.couchdb_quarantine set body = %s, body_bytes = %s where (source, key) = (%s, %s) and attempts = %s
returning body_bytes
"""
_IS_SAME = "select count(*) from {schema}.couchdb_quarantine where (source, key) = (%s, %s) and attempts = %s"
_DROP_PARTS = "delete from {schema}.couchdb_quarantine_part where (source, key) = (%s, %s)"


@dataclass(slots=True)
class Bodies:
    """Deleted documents of which more than a stub is stored.

    :param documents: in the table of documents.
    :param collisions: in ``couchdb_collision``.
    :param entries: in ``couchdb_quarantine``, with their bytes.
    :param unchanged: documents and collisions of which a trigger of somebody else made again what they were.
    """

    documents: int = 0
    collisions: int = 0
    entries: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        return f"{self.documents:,} rows, {self.collisions:,} collisions, {self.entries:,} entries of the quarantine"


class TombstoneStore(DocumentStore):
    """Finds and cuts bodies of deleted documents, beside running syncs; its parameters are those of its parent."""

    def check(self) -> None:
        """Refuses tables of an older release.

        :raises SettingsError: if a run of ``cht_sync`` has to come first.
        """
        if pending := self._session.patiently(self._pending):
            raise SettingsError(f"The tables lack {', '.join(pending)}: let the DAG cht_sync run once before.")

    def _pending(self) -> list[str]:
        with self._session.made_again():
            return Schema(self._session.conn, self._connection, self._raw).pending()

    def some(self) -> bool:
        """Whether there are any among the first thousand deleted documents."""

        def question(cursor: Any) -> bool:
            cursor.execute(self._sql(_SOME))
            return bool(cursor.fetchone()[0])

        return self._session.ask("look for bodies of deleted documents", question)

    def count(self) -> Bodies:
        """What :meth:`cut` would do; writes nothing."""

        def question(cursor: Any) -> Bodies:
            cursor.execute(self._sql(_COUNT))
            found = Bodies(*cursor.fetchone())
            cursor.execute(self._sql(_CLOSED), (*_FIRST, None))
            found.entries = cursor.rowcount
            return found

        found = self._session.ask("count bodies of deleted documents", question)
        found.entries += sum(self._without_row(write=False))
        return found

    def cut(self) -> Iterator[Bodies]:
        """Cuts step by step, each a short transaction; whatever ends it, the next call goes on with what is left.

        :return: what has been done so far, after each step.
        :raises StoreError: if Postgres fails, or a trigger keeps bodies as they were.
        """
        done = Bodies()
        for ids in self._walk("look for bodies of deleted documents", _FIND, ("",), LOOK):
            for start in range(0, len(ids), STEP):
                names = [name for (name,) in ids[start : start + STEP]]
                done.documents += self._step(done, self._raw.table, _CUT, (names,))
                yield done
        for found in self._walk("look for bodies beside the rows", _FIND_COLLISIONS, (b"", ""), STEP):
            keys, sources = [bytes(key) for key, _ in found], [source for _, source in found]
            done.collisions += self._step(done, "couchdb_collision", _CUT_COLLISIONS, (keys, sources))
            yield done
        last = _FIRST
        while entries := self._session.ask("empty entries of the quarantine", partial(self._forget, last)):
            done.entries += len(entries)
            last = entries[-1]
            yield done
        for step in self._without_row(write=True):
            done.entries += step
            yield done

    def _walk(self, doing: str, statement: str, first: tuple[Any, ...], limit: int) -> Iterator[list[tuple[Any, ...]]]:
        """Keys that a statement finds, so many at once, each behind the last: it ends whatever becomes of the rows."""

        def look(after: tuple[Any, ...], cursor: Any) -> list[tuple[Any, ...]]:
            cursor.execute(self._sql(statement), (*after, limit))
            return cursor.fetchall()

        last = first
        while found := self._session.ask(doing, partial(look, last)):
            yield found
            last = found[-1]

    def _step(self, done: Bodies, table: str, statement: str, values: Any) -> int:
        def work(cursor: Any) -> tuple[int, int]:
            self._wait_for_pages(cursor)
            cursor.execute(self._sql(statement), values)
            wanted, updated, cut = cursor.fetchone()
            self._check_cut(cursor, table, wanted, updated)
            return cut, wanted - cut

        cut, same = self._session.ask("cut bodies of deleted documents", work)
        done.unchanged += same
        return cut

    def _wait_for_pages(self, cursor: Any) -> None:
        """Pages of all sources wait for it before they write, so that none meets half a step."""
        self._locks.wait(cursor, self._lock_name("order"))

    def _check_cut(self, cursor: Any, table: str, wanted: int, cut: int) -> None:
        if cut < wanted:
            raise not_stored(cursor, {**self._names, "table": sql.Identifier(table)}, wanted - cut, wanted)

    def _forget(self, after: _Entry, cursor: Any) -> list[_Entry]:
        self._wait_for_pages(cursor)
        cursor.execute(self._sql(_CLOSED), (*after, STEP))
        found, emptied = [(source, bytes(key)) for source, key in cursor], 0
        for entry in found:
            cursor.execute(self._sql(_FORGET), entry)
            emptied += cursor.fetchall() == [(True,)]
            cursor.execute(self._sql(_DROP_PARTS), entry)
        self._check_cut(cursor, "couchdb_quarantine", len(found), emptied)
        return found

    def _without_row(self, write: bool) -> Iterator[int]:
        """1 for each entry of a deleted document that Postgres cannot hold at all, such as those with odd ids; each is
        read alone, for it may be large.
        """
        last = _FIRST
        while True:
            entries = self._session.ask("read couchdb_quarantine", partial(self._others, last))
            for last in entries:
                yield self._session.ask("empty an entry of the quarantine", partial(self._replace, last, write))
            if len(entries) < STEP:
                return

    def _others(self, after: _Entry, cursor: Any) -> list[_Entry]:
        cursor.execute(self._sql(_OTHERS), (*after, STEP))
        return [(source, bytes(key)) for source, key in cursor]

    def _replace(self, entry: _Entry, write: bool, cursor: Any) -> int:
        cursor.execute(self._sql(_READ), entry)
        for attempts, body in cursor.fetchall():
            stub = _stub_of_body(bytes(body))
            return int(self._put_stub(cursor, entry, attempts, stub) if stub and write else stub is not None)
        return 0

    def _put_stub(self, cursor: Any, entry: _Entry, attempts: int, stub: bytes) -> bool:
        """False where the document came again meanwhile."""
        cursor.execute(self._sql(_REPLACE), (stub, len(stub), *entry, attempts))
        replaced = cursor.fetchall() == [(len(stub),)]
        if replaced:
            cursor.execute(self._sql(_DROP_PARTS), entry)
        else:
            cursor.execute(self._sql(_IS_SAME), (*entry, attempts))
            self._check_cut(cursor, "couchdb_quarantine", cursor.fetchone()[0], 0)
        return replaced

    def _sql(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(**self._names, stub=_STUB, is_whole=_IS_WHOLE)


def _stub_of_body(body: bytes) -> bytes | None:
    """The stub of a deleted document; None where it is one already, lives, or cannot be read."""
    try:
        name, rev, deleted = name_of(body)
    except ValueError:
        return None
    stub = stub_of(Change(name, [Revision(rev)] if rev else [], deleted=True))
    return stub if deleted and body != stub else None


def cut_tombstones(settings: Settings, dry_run: bool, show: Callable[[str], None] = print) -> None:
    """Cuts the bodies of deleted documents that were stored before stubs were wanted.

    :param settings: the environment.
    :param dry_run: whether it only counts.
    :param show: takes a line about what was found, now and then about what was done, and about the end.
    :raises SettingsError: if bodies are to be kept, or the tables are not up to date.
    :raises StoreError: if Postgres fails; the next call goes on.
    """
    settings.check()
    if settings.tombstone_bodies:
        raise SettingsError(
            "CHT_TOMBSTONE_BODIES='keep' keeps what deleted documents held: take it away first.", "CHT_TOMBSTONE_BODIES"
        )
    with TombstoneStore(postgres_connection(settings), settings.raw_table, "cht_sync tombstones") as store:
        store.check()
        show(f"Deleted documents that are more than a stub: {store.count()}.")
        if dry_run:
            show("Nothing was changed.")
            return
        done, told = Bodies(), 0
        for done in store.cut():
            if done.documents >= told + LOOK:
                told = done.documents
                show(f"Cut so far: {done}.")
        if done.unchanged:
            show(f"{done.unchanged:,} are as they were: a trigger that is not of this project made them so again.")
        show(f"Cut: {done}. Old versions of the rows go with the next autovacuum, those in backups when they expire.")
