"""One _id in two sources: the first keeps the row, the other's newest state is kept beside it."""

from __future__ import annotations

from typing import Any

from psycopg2 import sql

# Rows of the page whose _id another source owns, how many of them are free to take, and how many collide already.
# Lateral, because the planner knows no sizes of the page table and would read the whole table of documents.
_FOREIGN = """
select count(*) filter (where stored.source <> %(source)s),
    count(*) filter (where stored.source <> %(source)s and stored._deleted and not page._deleted),
    count(*) filter (where stored.collides)
from pg_temp.cht_sync_page page
cross join lateral (
    select s.source, s._deleted,
        exists (select from {schema}.couchdb_collision c where c._id = page._id offset 0) as collides
    from {schema}.{table} s where s._id = page._id
    offset 0
) as stored
"""
# A tombstone gives way to a document that lives, and goes to where the document was.
_KEEP_TOMBSTONES = """
insert into {schema}.couchdb_collision as c (key, _id, source, _deleted, doc, saved_timestamp)
select sha256(convert_to(stored._id, 'UTF8')), stored._id, stored.source, true, stored.doc, %(stamp)s
from pg_temp.cht_sync_page page join {schema}.{table} stored using (_id)
where stored.source <> %(source)s and stored._deleted and not page._deleted
on conflict (key, source) do update
set _deleted = excluded._deleted, doc = excluded.doc, saved_timestamp = excluded.saved_timestamp
"""
_TAKE_OVER = """
update {schema}.{table} stored
set saved_timestamp = %(stamp)s, _deleted = page._deleted, source = %(source)s, doc = page.doc
from pg_temp.cht_sync_page page
where page._id = stored._id and stored.source <> %(source)s and stored._deleted and not page._deleted
"""
_FORGET_OWNED = """
delete from {schema}.couchdb_collision c using pg_temp.cht_sync_page page, {schema}.{table} stored
where c._id = page._id and c.source = %(source)s and stored._id = page._id and stored.source = %(source)s
"""
_KEEP_BESIDE = """
insert into {schema}.couchdb_collision as c (key, _id, source, _deleted, doc, saved_timestamp)
select sha256(convert_to(page._id, 'UTF8')), page._id, %(source)s, page._deleted, page.doc, %(stamp)s
from pg_temp.cht_sync_page page join {schema}.{table} stored using (_id)
where stored.source <> %(source)s
on conflict (key, source) do update
set _deleted = excluded._deleted, doc = excluded.doc, saved_timestamp = excluded.saved_timestamp
where (c._deleted, c.doc) is distinct from (excluded._deleted, excluded.doc)
"""
# An owner that has just deleted its document hands the row to the source that has waited longest.
_HAND_ON = """
with heirs as (
    select distinct on (c._id) c._id, c.source, c.doc, stored.doc as tombstone
    from pg_temp.cht_sync_page page
    join {schema}.{table} stored using (_id)
    join {schema}.couchdb_collision c using (_id)
    where stored.source = %(source)s and stored._deleted and not c._deleted and c.source <> %(source)s
    order by c._id, c.saved_timestamp, c.source
), forgotten as (
    delete from {schema}.couchdb_collision c using heirs where c._id = heirs._id and c.source = heirs.source
), kept as (
    insert into {schema}.couchdb_collision (key, _id, source, _deleted, doc, saved_timestamp)
    select sha256(convert_to(_id, 'UTF8')), _id, %(source)s, true, tombstone, %(stamp)s from heirs
    on conflict (key, source) do update
    set _deleted = excluded._deleted, doc = excluded.doc, saved_timestamp = excluded.saved_timestamp
)
update {schema}.{table} stored
set saved_timestamp = %(stamp)s, _deleted = false, source = heirs.source, doc = heirs.doc
from heirs where stored._id = heirs._id
"""

# Sources come from couchdb_progress, which is short; of each the index of couchdb_collision gives so many.
_BY_OWNER = """
select p.source, stored.source, count(*)
from {schema}.couchdb_progress p
cross join lateral (
    select c._id, c._deleted from {schema}.couchdb_collision c where c.source = p.source order by c.key limit %s
) as beside
join {schema}.{table} stored on stored._id = beside._id
where not (stored._deleted and beside._deleted)
group by 1, 2 order by 1, 2
"""


def read_collisions(
    cursor: Any, names: dict[str, sql.Identifier], most: int | None = None
) -> list[tuple[str, str, int]]:
    """How many documents of each source are kept beside rows of which other source.

    Those of which neither side lives are left out, since no model would read them.

    :param cursor: any.
    :param names: ``schema`` and ``table`` of the documents, as ``psycopg2.sql`` composes them.
    :param most: documents of each source that are looked at, default all of them.
    :return: source, source that owns the rows, documents; in the order of the names.
    """
    cursor.execute(sql.SQL(_BY_OWNER).format(**names), (most,))
    return cursor.fetchall()


class Collisions:
    """The table ``couchdb_collision``.

    :param names: schema and table, as ``psycopg2.sql`` composes them.
    """

    def __init__(self, names: dict[str, sql.Identifier]) -> None:
        self._names = names

    def _execute(self, cursor: Any, text: str, values: dict[str, Any]) -> int:
        cursor.execute(sql.SQL(text).format(**self._names), values)
        return cursor.rowcount

    def settle(self, cursor: Any, source: str, stamp: Any) -> tuple[int, int]:
        """Decides who owns each row of the page table that has just been stored.

        :param cursor: of the transaction that stores the page, which holds the lock of stamps.
        :param source: name of the page's source.
        :param stamp: what rows get as ``saved_timestamp``.
        :return: documents kept beside another source's row, and rows that changed their owner.
        """
        values = {"source": source, "stamp": stamp}
        cursor.execute(sql.SQL(_FOREIGN).format(**self._names), values)
        foreign, free, known = cursor.fetchone()
        if not foreign and not known:
            return 0, 0
        cursor.execute("analyze pg_temp.cht_sync_page")
        moved = 0
        if free:
            self._execute(cursor, _KEEP_TOMBSTONES, values)
            moved = self._execute(cursor, _TAKE_OVER, values)
        if known or free:
            self._execute(cursor, _FORGET_OWNED, values)
        if foreign > free:
            self._execute(cursor, _KEEP_BESIDE, values)
        if known:
            moved += self._execute(cursor, _HAND_ON, values)
        return foreign - free, moved
