"""Writes the documents of one page inside a transaction, and finds those that Postgres refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import psycopg2
from psycopg2 import sql
from psycopg2.errorcodes import FEATURE_NOT_SUPPORTED, UNIQUE_VIOLATION
from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.revisions import SQL_ORDER
from cht_sync.couchdb.structs import Change, Refused
from cht_sync.errors import StoreError
from cht_sync.postgres.locks import Locks
from cht_sync.postgres.query import Names, one_row
from cht_sync.redaction import message_of
from cht_sync.store.collisions import Collisions
from cht_sync.store.older_revisions import OlderRevisions
from cht_sync.store.quarantine import Quarantine, shown
from cht_sync.store.rows import CopyStream, Row, rows_of, stamped, stub, stub_of
from cht_sync.store.silent_triggers import check_stamped, check_stored, not_stored

PAGE_TABLE = (
    "create temporary table if not exists cht_sync_page"
    " (_id varchar, _deleted boolean, doc jsonb) on commit delete rows"
)
_COPY = "copy pg_temp.cht_sync_page (_id, _deleted, doc) from stdin (format binary)"
_INSERT = "copy {schema}.{table} (saved_timestamp, source, _id, _deleted, doc) from stdin (format binary)"
# The lock is held until the commit is visible: so no stamp becomes visible after a later one, whatever the source.
# Two statements, since one alone would look at the table as it was before it waited for the lock; sent together,
# as are others below, because while the next page is being read each answer costs a wait for the interpreter.
_STAMP = """
select greatest(
        clock_timestamp() at time zone 'utc',
        (select max(saved_timestamp) + interval '1 microsecond' from {schema}.{table}),
        (select max(saved_timestamp) + interval '1 microsecond' from {schema}.couchdb_collision)
    ),
    exists (select from {schema}.couchdb_collision),
    exists (select from {schema}.couchdb_quarantine where source = %(source)s and resolved_at is null),
    exists (select from {schema}.couchdb_older_revision where source = %(source)s),
    (select made_again_at from {schema}.couchdb_progress where source = %(source)s)
"""
# What an entry of the quarantine, an older revision or a collision needs, only the page table can say.
_SET_ASIDE = """
with page as (select sha256(convert_to(i, 'UTF8')) as key from unnest(%(ids)s::varchar[]) i)
select exists (select from {schema}.couchdb_collision where key in (select key from page))
    or exists (select from {schema}.couchdb_older_revision where source = %(source)s and key in (select key from page))
    or exists (
        select from {schema}.couchdb_quarantine
        where source = %(source)s and resolved_at is null and key in (select key from page)
    )
"""
_NOTED = """
with page as (select sha256(convert_to(_id, 'UTF8')) as key from pg_temp.cht_sync_page)
select exists (
        select from {schema}.couchdb_older_revision where source = %(source)s and key in (select key from page)
    ) or exists (
        select from {schema}.couchdb_quarantine
        where source = %(source)s and resolved_at is null and key in (select key from page)
    )
"""
_UPSERT = """
insert into {schema}.{table} as stored (saved_timestamp, _id, _deleted, source, doc)
select %(stamp)s, _id, _deleted, %(source)s, doc from pg_temp.cht_sync_page
on conflict (_id) do update
set saved_timestamp = excluded.saved_timestamp, _deleted = excluded._deleted,
    source = excluded.source, doc = excluded.doc
where coalesce(stored.source, excluded.source) = excluded.source
  and (stored._deleted, stored.source, stored.doc) is distinct from (excluded._deleted, excluded.source, excluded.doc)
  and (
      not %(guarded)s or coalesce({new_order} >= {old_order}, true)
      or coalesce(stored.saved_timestamp <= %(made_again_at)s::timestamp, false)
  )
"""
_RESTAMP = """
update {schema}.{table} set saved_timestamp = %(stamp)s
where _id = any(%(ids)s) and coalesce(source, %(source)s) = %(source)s
"""
_NOTE_NUL = """
insert into {schema}.couchdb_nul (key, _id, rev)
select sha256(convert_to(page._id || ' ' || page.rev, 'UTF8')), page._id, page.rev
from unnest(%s::varchar[], %s::varchar[]) as page (_id, rev)
on conflict (key) do nothing
"""
# What a document itself is to blame for: data exceptions and program limits.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_ITS_DATA = {"22", "54"}
# What somebody's constraint or trigger on the table has against it, and memory, which may be the server's own.
_ITS_TABLE = {"23", "P0", "53200"}
FEW = 20
# Pages with a document that is there already, after which the rest of a load is not expected to be new either.
MOST_KNOWN = 3


@dataclass(slots=True)
class Written:
    """What one page did.

    :param rows: rows of the table of documents that differ now.
    :param reasons: SQLSTATE of what was quarantined, by how many; ``-`` where it was not Postgres that refused.
    :param older: documents that were left as they are, because Postgres holds a newer revision.
    :param held_back: ids of those that came in a page.
    :param first_stamp: first ``saved_timestamp`` that was given, in the table of documents or that of collisions.
    :param stamp: the last one; None where nothing differs.
    """

    documents: int = 0
    tombstones: int = 0
    rows: int = 0
    quarantined: int = 0
    collisions: int = 0
    resolved: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    older: int = 0
    held_back: set[str] = field(default_factory=set)
    first_stamp: datetime | None = None
    stamp: datetime | None = None


class Turn(NamedTuple):
    """What a writer knows once it holds the lock of stamps; ``made_again_at``: rows up to it are of an old database."""

    stamp: datetime
    collisions: bool
    quarantine: bool
    older: bool
    made_again_at: datetime | None


class PageWriter:
    """Writes to the table of documents, to quarantine and to collisions.

    A row never goes back to an older revision, unless whoever calls says that it has been made sure of.

    :param tombstone_bodies: whether deleted documents are stored whole; by default as stubs, and not in quarantine.
    """

    def __init__(self, names: Names, order: str, tombstone_bodies: bool = False) -> None:
        self._names, self._order, self._bodies = names, order, tombstone_bodies
        self._quarantine, self._collisions = Quarantine(names), Collisions(names)
        self._older = OlderRevisions(names)
        self._known_pages = 0
        orders = {
            "new_order": sql.SQL(SQL_ORDER.format("(excluded.doc->>'_rev')")),
            "old_order": sql.SQL(SQL_ORDER.format("(stored.doc->>'_rev')")),
        }
        wait = Locks(names.schema).wait_sql()
        self._stamp = sql.SQL("; ").join([wait, names.compose(_STAMP)])
        self._upsert = sql.SQL(_UPSERT).format(**names, **orders)

    def write(
        self,
        cursor: Cursor,
        source: str,
        changes: list[Change],
        held: list[Refused],
        seq: str | None,
        *,
        expect_new: bool = False,
        sure: bool = False,
    ) -> Written:
        """Stores documents; those that cannot be stored go to quarantine.

        :param expect_new: whether the documents are most likely stored nowhere yet: then they are inserted with no
            look at what is there, and only where that fails as ever.
        :param sure: whether the documents may take rows back to an older revision.
        :raises psycopg2.Error: for any failure that is not a document's own.
        :raises StoreError: if a constraint or trigger refuses all of them, or a trigger drops some without a word.
        """
        rows, refused = rows_of(changes, self._bodies)
        done = Written()
        inserted = expect_new and self._insert(cursor, source, rows, done)
        by_postgres = [] if inserted else self._put(cursor, source, rows, done, sure)
        self._check_table(by_postgres, len(rows))
        if altered := [row.change for row in rows if row.altered]:
            # A note says nothing of a row in another revision, so one too many does no harm.
            ids, revs = [each.id for each in altered], [shown((each.rev or "").replace("\0", "")) for each in altered]
            self._names.execute(cursor, _NOTE_NUL, (ids, revs))
        refused += held + by_postgres
        if refused and not sure:
            older = self._hold_back(cursor, source, [each.change for each in refused], done)
            refused = [each for each in refused if each.change.id not in older]
        # A delete takes effect although its last words cannot be stored.
        buried = [row for each in refused if each.change.deleted and (row := stub(each.change))]
        lost = self._put(cursor, source, buried, done, sure)
        done.documents = len(rows) + len(refused) - len(by_postgres)
        if not self._bodies:
            refused = _without_tombstones(refused, buried, lost)
            gone = [row.change.id for row in rows + buried if row.change.deleted]
            self._quarantine.forget(cursor, source, [each for each in gone if each not in done.held_back])
        for each in refused:
            self._quarantine.add(cursor, source, each, seq)
            code = each.sqlstate or "-"
            done.reasons[code] = done.reasons.get(code, 0) + 1
        if refused and not sure:
            self._older.forget(cursor, source, [each.change for each in refused])
        done.tombstones = sum(row.change.deleted for row in rows)
        done.quarantined = len(refused)
        return done

    def restamp(self, cursor: Cursor, source: str, ids: list[str]) -> Written:
        """Gives rows a new ``saved_timestamp`` and changes nothing else."""
        stamp = self._turn(cursor, source).stamp
        values = {"stamp": stamp, "source": source, "ids": ids}
        self._names.execute(cursor, _RESTAMP, values)
        done = Written(documents=len(ids), rows=cursor.rowcount)
        if done.rows < len(ids):
            check_stamped(cursor, self._names, values)
        if done.rows:
            done.first_stamp = done.stamp = stamp
        return done

    def _insert(self, cursor: Cursor, source: str, rows: list[Row], done: Written) -> bool:
        """Stores rows that are all new, in one step; False where that cannot be, and nothing is stored."""
        if not rows or self._known_pages >= MOST_KNOWN:
            return False
        try:
            with _savepoint(cursor):
                turn = self._turn(cursor, source)
                if (turn.older or turn.collisions or turn.quarantine) and self._set_aside(cursor, source, rows):
                    return False
                taken = _copy(cursor, self._names.compose(_INSERT), rows, stamped(turn.stamp, source))
                if taken < len(rows):
                    raise not_stored(cursor, self._names, len(rows) - taken, len(rows))
        except psycopg2.Error as error:
            # Row-level security takes no COPY. Source: https://www.postgresql.org/docs/current/sql-copy.html
            if not is_refusal(error) and error.pgcode != FEATURE_NOT_SUPPORTED:
                raise
            self._known_pages += error.pgcode in {UNIQUE_VIOLATION, FEATURE_NOT_SUPPORTED}
            return False
        done.rows += len(rows)
        done.first_stamp = done.stamp = turn.stamp
        return True

    def _set_aside(self, cursor: Cursor, source: str, rows: list[Row]) -> bool:
        """Whether one of them is in quarantine or collides."""
        ids = [row.change.id for row in rows]
        return self._names.value(cursor, _SET_ASIDE, {"ids": ids, "source": source})

    def turn(self, cursor: Cursor) -> datetime:
        """Waits until no other transaction writes documents; none does until this one ends."""
        return self._turn(cursor, "").stamp

    def _turn(self, cursor: Cursor, source: str) -> Turn:
        cursor.execute(self._stamp, {"name": self._order, "source": source})
        return Turn(*one_row(cursor))

    def _hold_back(self, cursor: Cursor, source: str, changes: list[Change], done: Written) -> set[str]:
        """Ids of documents that are older than what is stored of them."""
        older = self._older.hold_back(cursor, source, self._turn(cursor, source).made_again_at, changes)
        done.older += len(older)
        done.held_back |= older
        return older

    def _put(self, cursor: Cursor, source: str, rows: list[Row], done: Written, sure: bool) -> list[Refused]:
        """Stores rows, halving them until what Postgres refuses stands alone."""
        if not rows:
            return []
        try:
            with _savepoint(cursor):
                self._put_all(cursor, source, rows, done, sure)
        except psycopg2.Error as error:
            if not is_refusal(error):
                raise
            if len(rows) == 1:
                return [_refused(rows[0], error)]
            half = len(rows) // 2
            return [each for some in (rows[:half], rows[half:]) for each in self._put(cursor, source, some, done, sure)]
        return []

    def _put_all(self, cursor: Cursor, source: str, rows: list[Row], done: Written, sure: bool) -> None:
        copy_rows(cursor, rows)
        turn = self._turn(cursor, source)
        # What the upsert cannot see in the rows themselves is looked for before it, all else only where it stores less.
        looked = (turn.older or turn.quarantine) and self._is_noted(cursor, source)
        older = self._take_out(cursor, source, turn) if looked and not sure else set()
        values = {"stamp": turn.stamp, "source": source, "guarded": not (sure or looked)}
        values["made_again_at"] = turn.made_again_at
        cursor.execute(self._upsert, values)
        written, beside, resolved = cursor.rowcount, 0, 0
        if written < len(rows) - len(older) and not looked and not sure:
            older = self._take_out(cursor, source, turn)
        if written < len(rows) - len(older):
            check_stored(cursor, self._names, {"source": source, "stamp": turn.stamp, "sure": sure})
        # Fewer rows than documents: some did not change, or belong to another source.
        if written < len(rows) - len(older) or turn.collisions:
            beside, moved = self._collisions.settle(cursor, source, turn.stamp)
            written += moved
        if turn.quarantine:
            resolved = self._quarantine.resolve(cursor, source)
        if looked and not sure:  # whoever is sure says itself what is remembered
            self._older.forget(cursor, source, [row.change for row in rows if row.change.id not in older])
        done.rows += written
        done.collisions += beside
        done.resolved += resolved
        done.older += len(older)
        done.held_back |= older
        if written or beside:
            done.first_stamp, done.stamp = done.first_stamp or turn.stamp, turn.stamp

    def _is_noted(self, cursor: Cursor, source: str) -> bool:
        """Whether a document of the page table is in quarantine, or was named in an older revision."""
        return bool(self._names.value(cursor, _NOTED, {"source": source}))

    def _take_out(self, cursor: Cursor, source: str, turn: Turn) -> set[str]:
        """Takes documents out of the page table that are older than what is stored of them."""
        older = self._older.hold_back(cursor, source, turn.made_again_at)
        if older:
            cursor.execute("delete from pg_temp.cht_sync_page where _id = any(%s)", (list(older),))
        return older

    def _check_table(self, refused: list[Refused], rows: int) -> None:
        by_table = [each for each in refused if _is_one_of(each.sqlstate or "", _ITS_TABLE)]
        if len(by_table) == rows >= FEW:
            raise StoreError(
                f"Every document of a page is refused with SQLSTATE {by_table[0].sqlstate} ({by_table[0].reason}): take"
                " away the constraint or trigger that is not of this project, or give Postgres more memory."
            )


def copy_rows(cursor: Cursor, rows: list[Row]) -> None:
    """Fills the page table."""
    if (taken := _copy(cursor, _COPY, rows)) < len(rows):
        raise StoreError(f"Postgres took {taken} of {len(rows)} documents; the page is rolled back.")


def _copy(cursor: Cursor, statement: str | sql.Composed, rows: list[Row], before: tuple[int, bytes] = (0, b"")) -> int:
    cursor.copy_expert(statement, CopyStream(rows, before))
    return cursor.rowcount


@contextmanager
def _savepoint(cursor: Cursor) -> Iterator[None]:
    """A part of the transaction that can fail alone; it begins with an empty page table."""
    cursor.execute("savepoint cht_sync; delete from pg_temp.cht_sync_page")
    try:
        yield
    except psycopg2.Error:
        if not cursor.connection.closed:
            cursor.execute("rollback to savepoint cht_sync")
        raise
    cursor.execute("release savepoint cht_sync")


def is_refusal(error: psycopg2.Error) -> bool:
    """Whether Postgres has something against a document, not against this session or the server."""
    code = error.pgcode or ""
    # Arrays of jsonb grow by doubling, and a text of 64 MB can hold more values than one allocation takes.
    too_many_values = code == "XX000" and "invalid memory alloc request size" in str(error)
    return too_many_values or _is_one_of(code, _ITS_DATA | _ITS_TABLE)


def _is_one_of(code: str, starts: set[str]) -> bool:
    return any(code.startswith(start) for start in starts)


def _without_tombstones(refused: list[Refused], buried: list[Row], lost: list[Refused]) -> list[Refused]:
    """What is left for the quarantine where stubs are stored: no tombstone that has one, and no body of the others."""
    stored = {row.change.id for row in buried} - {each.change.id for each in lost}
    left = [each for each in refused if not (each.change.deleted and each.change.id in stored)]
    return [replace(each, body=stub_of(each.change)) if each.change.deleted else each for each in left]


def _refused(row: Row, error: psycopg2.Error) -> Refused:
    return Refused(row.change, f"Postgres: {message_of(error)}", error.pgcode, bytes(row.change.doc))
