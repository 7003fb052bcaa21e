"""The table ``couchdb_older_revision``: a row never goes back to an older revision by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.document_ids import storable
from cht_sync.couchdb.revisions import SQL_ORDER
from cht_sync.couchdb.structs import Change
from cht_sync.postgres.query import Names

_OF_PAGE = "(select _id, doc->>'_rev' from pg_temp.cht_sync_page)"
_NAMED = "unnest(%(ids)s::varchar[], %(revs)s::varchar[])"
# Documents older than what is stored of them: as a row, as a collision, in quarantine, or once before.
# What was stored before a database was made again is no measure, see couchdb_progress.made_again_at.
_HOLD_BACK = """
with page as materialized (
    select _id, rev, sha256(convert_to(_id, 'UTF8')) as key from {page} as p (_id, rev)
), older as (
    select page.*, stored.held
    from page
    left join {schema}.couchdb_older_revision o on o.source = %(source)s and o.key = page.key
    cross join lateral (
        select
            (array_agg(rev order by length(split_part(rev, '-', 1)) desc, rev collate "C" desc)
                filter (where rev is not null))[1] as held,
            max(rev) filter (where is_row) as current
        from (
            select s.doc->>'_rev' as rev, true as is_row from {schema}.{table} s
            where s._id = page._id and coalesce(s.source, %(source)s) = %(source)s
                and not coalesce(s.saved_timestamp <= %(made_again_at)s::timestamp, false)
            union all
            select c.doc->>'_rev', true from {schema}.couchdb_collision c
            where c.key = page.key and c.source = %(source)s
                and not coalesce(c.saved_timestamp <= %(made_again_at)s::timestamp, false)
            union all
            select q._rev, false from {schema}.couchdb_quarantine q
            where q.key = page.key and q.source = %(source)s and q.resolved_at is null
                and %(made_again_at)s::timestamp is null
        ) of_it
    ) stored
    where not coalesce({gone}, false) and ({page_order} < {held_order} or (
        page.rev <> stored.current and {page_order} <= {peak_order}
    ))
)
insert into {schema}.couchdb_older_revision as o (source, key, _id, held, claimed)
select %(source)s, key, _id, held, rev from older where held is not null
on conflict (source, key) do update set
    first_seen = case when {same} then o.first_seen else now() end,
    looks = case when {same} then o.looks else 0 end,
    looked_at = case when {same} then o.looked_at end,
    held = excluded.held, claimed = excluded.claimed, last_seen = now(), settled_at = null
returning _id
"""
_SAME = "o.settled_at is null and o.held = excluded.held and o.claimed is not distinct from excluded.claimed"
# A tombstone that was made because CouchDB knew no such document says nothing of revisions.
_GONE = "o.settled_at is not null and o.claimed is null"
# What is not older than anything known any more.
_FORGET = """
delete from {schema}.couchdb_older_revision o
using unnest(%(ids)s::varchar[], %(revs)s::varchar[]) as p (_id, rev)
where o.source = %(source)s and o.key = sha256(convert_to(p._id, 'UTF8')) and ({gone} or case
    when o.known[1] is null then {page_order} >= {held_order} else {page_order} > {peak_order}
end)
"""
_NOTE_MISSING = """
insert into {schema}.couchdb_older_revision as o (source, key, _id, held)
select %(source)s, sha256(convert_to(p._id, 'UTF8')), p._id, coalesce(p.rev, '0')
from unnest(%(ids)s::varchar[], %(revs)s::varchar[]) as p (_id, rev)
on conflict (source, key) do update set
    first_seen = case when {same} then o.first_seen else now() end,
    looks = case when {same} then o.looks else 0 end,
    held = excluded.held, claimed = null, last_seen = now(), settled_at = null
"""
_OPEN = """
with next as (
    select key from {schema}.couchdb_older_revision
    where source = %(source)s and settled_at is null and (looked_at is null or looked_at < now() - %(pause)s)
    order by looked_at nulls first, key limit %(limit)s
)
update {schema}.couchdb_older_revision o set looked_at = now() from next
where o.source = %(source)s and o.key = next.key
returning o.key, o._id, o.held, o.claimed, o.known, o.looks, now() - o.first_seen
"""
_NOTE_CLAIMED = """
update {schema}.couchdb_older_revision o set
    first_seen = case when o.claimed is not distinct from l.claimed then o.first_seen else now() end,
    looks = case when o.claimed is not distinct from l.claimed then o.looks + 1 else 1 end,
    claimed = l.claimed
from unnest(%(keys)s::bytea[], %(claimed)s::varchar[]) as l (key, claimed)
where o.source = %(source)s and o.key = l.key and o.settled_at is null
"""
_SETTLE = """
update {schema}.couchdb_older_revision set settled_at = now(), known = %(known)s
where source = %(source)s and key = %(key)s
"""
_DROP = "delete from {schema}.couchdb_older_revision where source = %(source)s and key = any(%(keys)s::bytea[])"
_DROP_ALL = "delete from {schema}.couchdb_older_revision where source = %s"
_COUNT = "select count(*) from {schema}.couchdb_older_revision where source = %s and settled_at is null"


@dataclass(frozen=True, slots=True)
class OlderRevision:
    """A document of which CouchDB names an older revision than Postgres holds.

    :param key: SHA-256 of its ``_id``.
    :param held: the newest revision that Postgres holds.
    :param known: the ends of the revision tree with which an older revision was stored before.
    :param looks: how often in a row CouchDB was asked again and named the same.
    :param since: for how long it has named it.
    """

    key: bytes
    id: str
    held: str
    claimed: str | None
    known: Sequence[str] = ()
    looks: int = 0
    since: timedelta = timedelta()


class OlderRevisions:
    """Finds documents that would take a row back, and keeps what is known of them."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def _compose(self, text: str, page: str = "p.rev", held: str = "o.held", of: str = _NAMED) -> sql.Composed:
        return self._names.compose(
            text,
            page=sql.SQL(of),
            same=sql.SQL(_SAME),
            gone=sql.SQL(_GONE),
            page_order=sql.SQL(SQL_ORDER.format(page)),
            held_order=sql.SQL(SQL_ORDER.format(held)),
            peak_order=sql.SQL(SQL_ORDER.format("o.known[1]")),
        )

    def hold_back(
        self, cursor: Cursor, source: str, made_again_at: datetime | None, changes: Iterable[Change] | None = None
    ) -> set[str]:
        """Notes which documents, default those of the page table, are older than stored; they must not be stored.

        :param made_again_at: rows up to it are of an old database.
        """
        values = {**_arrays(source, _plain(changes or ())), "made_again_at": made_again_at}
        of = _OF_PAGE if changes is None else _NAMED
        cursor.execute(self._compose(_HOLD_BACK, "page.rev", "stored.held", of), values)
        return {name for (name,) in cursor}

    def forget(self, cursor: Cursor, source: str, changes: Iterable[Change]) -> None:
        """Forgets documents that came in a revision which is not older any more."""
        if plain := _plain(changes):
            cursor.execute(self._compose(_FORGET), _arrays(source, plain))

    def note_missing(self, cursor: Cursor, source: str, held: dict[str, str | None]) -> None:
        """Notes documents that Postgres holds and CouchDB does not know."""
        # What has no row cannot go back.
        if plain := {name: rev for name, rev in held.items() if storable(name)}:
            cursor.execute(self._compose(_NOTE_MISSING), _arrays(source, plain))

    def take(self, cursor: Cursor, source: str, limit: int, pause: timedelta) -> list[OlderRevision]:
        """Documents to check again, those first that have waited longest; they count as checked."""
        found = self._names.execute(cursor, _OPEN, {"source": source, "limit": limit, "pause": pause})
        return [OlderRevision(bytes(key), *rest) for key, *rest in found]

    def note_claimed(self, cursor: Cursor, source: str, claimed: dict[bytes, str | None]) -> None:
        """Notes what CouchDB named when it was asked again."""
        values = {"source": source, "keys": list(claimed), "claimed": list(claimed.values())}
        self._names.execute(cursor, _NOTE_CLAIMED, values)

    def settle(self, cursor: Cursor, source: str, key: bytes, known: list[str]) -> None:
        """Keeps in mind with which revisions an older one, or a tombstone for none, was stored.

        That distinguishes a copy that lags from one that does not.

        :param known: the ends of its revision tree, the newest first; none where CouchDB knew no such document.
        """
        self._names.execute(cursor, _SETTLE, {"source": source, "key": key, "known": known})

    def drop(self, cursor: Cursor, source: str, keys: list[bytes]) -> None:
        """Forgets documents."""
        self._names.execute(cursor, _DROP, {"source": source, "keys": keys})

    def drop_all(self, cursor: Cursor, source: str) -> None:
        """Forgets all documents of a source, whose database is another one now."""
        self._names.execute(cursor, _DROP_ALL, (source,))

    def count(self, cursor: Cursor, source: str) -> int:
        """How many documents wait to be checked again."""
        return int(self._names.value(cursor, _COUNT, (source,)))


def _plain(changes: Iterable[Change]) -> dict[str, str | None]:
    """Revisions by ``_id``, of documents that Postgres can hold: of others there is no row that could go back."""
    return {each.id: each.rev for each in changes if each.rev and storable(each.id) and storable(each.rev)}


def _arrays(source: str, revisions: Mapping[str, str | None]) -> dict[str, Any]:
    return {"source": source, "ids": list(revisions), "revs": list(revisions.values())}
