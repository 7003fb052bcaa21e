"""The table ``couchdb_older_revision``: a row never goes back to an older revision by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from psycopg2 import sql

from cht_sync.page import Change
from cht_sync.revisions import SQL_ORDER
from cht_sync.rows import storable

if TYPE_CHECKING:
    from cht_sync.page_writer import Turn

# Documents older than what is stored of them: as a row, beside another source's row, in quarantine, or once before.
# What was stored before a database was made again is no measure, see couchdb_progress.made_again_at.
_HOLD_BACK = """
with page as materialized (
    select _id, rev, sha256(convert_to(_id, 'UTF8')) as key
    from unnest(%(ids)s::varchar[], %(revs)s::varchar[]) as p (_id, rev)
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
            where c.key = page.key and c.source = %(source)s and not %(sweeping)s
            union all
            select q._rev, false from {schema}.couchdb_quarantine q
            where q.key = page.key and q.source = %(source)s and q.resolved_at is null and not %(sweeping)s
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
_DOUBT_GONE = """
insert into {schema}.couchdb_older_revision as o (source, key, _id, held)
select %(source)s, sha256(convert_to(p._id, 'UTF8')), p._id, coalesce(p.rev, '0')
from unnest(%(ids)s::varchar[], %(revs)s::varchar[]) as p (_id, rev)
on conflict (source, key) do update set
    first_seen = case when {same} then o.first_seen else now() end,
    looks = case when {same} then o.looks else 0 end,
    held = excluded.held, claimed = null, last_seen = now(), settled_at = null
"""
_OPEN = """
select key, _id, held, claimed, known, looks, now() - first_seen from {schema}.couchdb_older_revision
where source = %(source)s and settled_at is null and key > %(after)s
    and (looked_at is null or looked_at < now() - %(pause)s)
order by key limit %(limit)s
"""
_LOOKED = """
update {schema}.couchdb_older_revision o set
    first_seen = case when o.claimed is not distinct from l.claimed then o.first_seen else now() end,
    looks = case when o.claimed is not distinct from l.claimed then o.looks + 1 else 1 end,
    claimed = l.claimed, looked_at = now()
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
    :param id: its ``_id``.
    :param held: the newest revision that Postgres holds.
    :param claimed: what CouchDB names; None where it says that there is no such document.
    :param known: the ends of the revision tree with which an older revision was stored before.
    :param looks: how often in a row CouchDB was asked again and named the same.
    :param since: for how long it has named it.
    """

    key: bytes
    id: str
    held: str
    claimed: str | None
    known: Sequence[str] = field(default=())
    looks: int = 0
    since: timedelta = timedelta()


class OlderRevisions:
    """Finds documents that would take a row back, and keeps what is known of them.

    :param names: schema and table, as ``psycopg2.sql`` composes them.
    """

    def __init__(self, names: dict[str, sql.Identifier]) -> None:
        self._names = names

    def _sql(self, text: str, page: str = "p.rev", held: str = "o.held") -> sql.Composed:
        return sql.SQL(text).format(
            **self._names,
            same=sql.SQL(_SAME),
            gone=sql.SQL(_GONE),
            page_order=sql.SQL(SQL_ORDER.format(page)),
            held_order=sql.SQL(SQL_ORDER.format(held)),
            peak_order=sql.SQL(SQL_ORDER.format("o.known[1]")),
        )

    def hold_back(self, cursor: Any, source: str, changes: Iterable[Change], turn: Turn) -> set[str]:
        """Notes those of some documents that are older than what is stored of them.

        :param cursor: of the transaction that stores a page.
        :param source: name of the source.
        :param changes: the documents; one whose ``_id`` Postgres cannot hold has no row that could go back.
        :param turn: what is known of the source.
        :return: their ids: they must not be stored.
        """
        plain = {each.id: each.rev for each in changes if each.rev and storable(each.id)}
        if not plain:
            return set()
        values = {
            **_arrays(source, plain),
            "made_again_at": turn.made_again_at,
            "sweeping": turn.sweeping,
        }
        cursor.execute(self._sql(_HOLD_BACK, "page.rev", "stored.held"), values)
        return {name for (name,) in cursor}

    def forget(self, cursor: Any, source: str, changes: Iterable[Change]) -> None:
        """Forgets documents that came in a revision which is not older any more.

        :param cursor: of the transaction that stores them.
        :param source: name of the source.
        :param changes: the documents.
        """
        plain = {each.id: each.rev for each in changes if each.rev and storable(each.id)}
        if plain:
            cursor.execute(self._sql(_FORGET), _arrays(source, plain))

    def doubt_gone(self, cursor: Any, source: str, held: dict[str, str | None]) -> None:
        """Notes documents that Postgres holds and CouchDB does not know.

        :param cursor: of an open transaction.
        :param source: name of the source.
        :param held: revisions that Postgres holds, by ``_id``.
        """
        if held:
            cursor.execute(self._sql(_DOUBT_GONE), _arrays(source, held))

    def open(self, cursor: Any, source: str, after: bytes, limit: int, pause: timedelta) -> list[OlderRevision]:
        """Documents to look at again, in the order of their keys.

        :param cursor: any.
        :param source: name of the source.
        :param after: key of the last one seen; empty at first.
        :param limit: documents at most.
        :param pause: those that were looked at so recently are left out.
        """
        cursor.execute(self._sql(_OPEN), {"source": source, "after": after, "limit": limit, "pause": pause})
        return [OlderRevision(bytes(key), *rest) for key, *rest in cursor]

    def looked(self, cursor: Any, source: str, claimed: dict[bytes, str | None]) -> None:
        """Notes what CouchDB named when it was asked again.

        :param cursor: of an open transaction.
        :param source: name of the source.
        :param claimed: the revision that it named by key of the document; None where it knows no such document.
        """
        values = {"source": source, "keys": list(claimed), "claimed": list(claimed.values())}
        cursor.execute(self._sql(_LOOKED), values)

    def settle(self, cursor: Any, source: str, key: bytes, known: list[str]) -> None:
        """Keeps in mind with which revisions an older one, or a tombstone for none, was stored.

        A copy that lags is told by that from one that does not.

        :param cursor: of the transaction that stores it.
        :param source: name of the source.
        :param key: of the document.
        :param known: the ends of its revision tree, the newest first; none where CouchDB knew no such document.
        """
        cursor.execute(self._sql(_SETTLE), {"source": source, "key": key, "known": known})

    def drop(self, cursor: Any, source: str, keys: list[bytes]) -> None:
        """Forgets documents.

        :param cursor: of an open transaction.
        :param source: name of the source.
        :param keys: of the documents.
        """
        cursor.execute(self._sql(_DROP), {"source": source, "keys": keys})

    def drop_all(self, cursor: Any, source: str) -> None:
        """Forgets all documents of a source, whose database is another one now.

        :param cursor: of an open transaction.
        :param source: name of the source.
        """
        cursor.execute(self._sql(_DROP_ALL), (source,))

    def count(self, cursor: Any, source: str) -> int:
        """How many documents wait to be looked at again.

        :param cursor: any.
        :param source: name of the source.
        """
        cursor.execute(self._sql(_COUNT), (source,))
        return int(cursor.fetchone()[0])


def _arrays(source: str, revisions: Mapping[str, str | None]) -> dict[str, Any]:
    return {"source": source, "ids": list(revisions), "revs": list(revisions.values())}
