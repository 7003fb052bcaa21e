"""Cuts what is stored of deleted documents down to stubs, where it was stored before stubs were wanted.

Rows keep their ``saved_timestamp``: models take of a tombstone that it is one, which does not change, and with a new
stamp all of them would read every deleted document again for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.decode import name_of
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import SettingsError
from cht_sync.postgres.query import Names
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.collisions import Collisions
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.migrations import Schema
from cht_sync.store.quarantine import Entry, Quarantine
from cht_sync.store.rows import STUB_SQL, stub_of
from cht_sync.store.silent_triggers import not_stored

# Rows of one query, and of one transaction that cuts them.
LOOK, STEP = 50_000, 500
_FIRST: Entry = ("", b"")
T = TypeVar("T")
_COUNT = "select count(*) from {schema}.{table} where {is_whole}"
_FIND = "select _id from {schema}.{table} where _id > %s and {is_whole} order by _id limit %s"
# Takes a moment, however many rows there are.
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


@dataclass(slots=True)
class Bodies:
    """Deleted documents with more than a stub; ``unchanged``: those that another trigger restored."""

    documents: int = 0
    collisions: int = 0
    entries: int = 0
    unchanged: int = 0

    def __str__(self) -> str:
        return f"{self.documents:,} rows, {self.collisions:,} collisions, {self.entries:,} entries of the quarantine"


class TombstoneStore(DocumentStore):
    """Finds and cuts bodies of deleted documents while syncs run."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._collisions, self._quarantine = Collisions(self._names), Quarantine(self._names)

    def check(self) -> None:
        """Refuses tables of an older release: a run of ``cht_sync`` has to come first."""
        if pending := self._session.patiently(self._pending):
            raise SettingsError(f"The tables lack {', '.join(pending)}: let the DAG cht_sync run once before.")

    def _pending(self) -> list[str]:
        with self._session.reconnecting():
            return Schema(self._session.conn, self._connection, self._raw).pending()

    def some(self) -> bool:
        """Whether there are any among the first thousand deleted documents."""
        doing = "look for bodies of deleted documents"
        return self._session.ask(doing, lambda cursor: bool(self._names.value(cursor, _SOME, **STUB_SQL)))

    def count(self) -> Bodies:
        """What :meth:`cut` would do; writes nothing."""

        def question(cursor: Cursor) -> Bodies:
            documents = self._names.value(cursor, _COUNT, **STUB_SQL)
            entries = self._quarantine.of_tombstones(cursor, _FIRST, None)
            return Bodies(documents, self._collisions.count_whole(cursor), len(entries))

        found = self._session.ask("count bodies of deleted documents", question)
        found.entries += sum(self._without_row(write=False))
        return found

    def cut(self) -> Iterator[Bodies]:
        """Cuts step by step, each a short transaction; whatever ends it, the next call goes on with what is left.

        :raises StoreError: if Postgres fails, or a trigger keeps bodies as they were.
        """
        done = Bodies()
        for ids in self._walk("look for bodies of deleted documents", self._find, "", LOOK):
            for start in range(0, len(ids), STEP):
                done.documents += self._step(done, self._raw.table, partial(self._cut, ids[start : start + STEP]))
                yield done
        for found in self._walk("look for bodies beside the rows", self._collisions.find_whole, (b"", ""), STEP):
            done.collisions += self._step(done, "couchdb_collision", partial(self._collisions.cut, found=found))
            yield done
        last = _FIRST
        while entries := self._session.ask("empty entries of the quarantine", partial(self._forget, last)):
            done.entries += len(entries)
            last = entries[-1]
            yield done
        for step in self._without_row(write=True):
            done.entries += step
            yield done

    def _walk(self, doing: str, look: Callable[[Cursor, T, int], list[T]], first: T, limit: int) -> Iterator[list[T]]:
        """Keys that a look finds, so many at once, each behind the last: it ends whatever becomes of the rows."""

        def ask(after: T) -> list[T]:
            return self._session.ask(doing, lambda cursor: look(cursor, after, limit))

        last = first
        while found := ask(last):
            yield found
            last = found[-1]

    def _find(self, cursor: Cursor, after: str, limit: int) -> list[str]:
        return [name for (name,) in self._names.execute(cursor, _FIND, (after, limit), **STUB_SQL)]

    def _cut(self, ids: list[str], cursor: Cursor) -> tuple[int, int, int]:
        wanted, updated, stubs = self._names.row(cursor, _CUT, (ids,), **STUB_SQL)
        return wanted, updated, stubs

    def _step(self, done: Bodies, table: str, cut: Callable[[Cursor], tuple[int, int, int]]) -> int:
        def work(cursor: Cursor) -> tuple[int, int]:
            self._wait_for_pages(cursor)
            wanted, updated, stubs = cut(cursor)
            self._check_cut(cursor, table, wanted, updated)
            return stubs, wanted - stubs

        stubs, same = self._session.ask("cut bodies of deleted documents", work)
        done.unchanged += same
        return stubs

    def _wait_for_pages(self, cursor: Cursor) -> None:
        """Pages of all sources wait for it before they write, so that none meets half a step."""
        self._locks.wait(cursor, self._lock_name("order"))

    def _check_cut(self, cursor: Cursor, table: str, wanted: int, cut: int) -> None:
        if cut < wanted:
            raise not_stored(cursor, Names(self._names.schema, table), wanted - cut, wanted)

    def _forget(self, after: Entry, cursor: Cursor) -> list[Entry]:
        self._wait_for_pages(cursor)
        found = self._quarantine.of_tombstones(cursor, after, STEP)
        emptied = sum(self._quarantine.empty(cursor, entry) for entry in found)
        self._check_cut(cursor, "couchdb_quarantine", len(found), emptied)
        return found

    def _without_row(self, write: bool) -> Iterator[int]:
        """1 for each entry of a deleted document that no row can hold; each is read alone, for it may be large."""
        others = self._walk("read couchdb_quarantine", self._quarantine.without_tombstone, _FIRST, STEP)
        for entries in others:
            for entry in entries:
                yield self._session.ask("empty an entry of the quarantine", partial(self._replace, entry, write))

    def _replace(self, entry: Entry, write: bool, cursor: Cursor) -> int:
        found = self._quarantine.read(cursor, entry)
        stub = _stub_of_body(found[1]) if found else None
        if not found or not stub or not write:
            return int(stub is not None)
        replaced = self._quarantine.replace(cursor, entry, found[0], stub)
        # None where the document came again meanwhile.
        self._check_cut(cursor, "couchdb_quarantine", 1, int(replaced is not False))
        return int(bool(replaced))


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

    :raises SettingsError: if bodies are to be kept, or the tables are not up to date.
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
