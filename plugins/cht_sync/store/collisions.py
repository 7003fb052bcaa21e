"""One _id in several sources: the first in their order has the row, the others' states are in couchdb_collision."""

from __future__ import annotations

from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.query import Names
from cht_sync.store.rows import STUB_SQL
from cht_sync.store.silent_triggers import not_stored

# Rows of the page whose _id another source owns, and how many collide already.
# Lateral, because the planner knows no sizes of the page table and would read the whole table of documents.
_FOREIGN = """
select count(*) filter (where stored.source <> %(source)s), count(*) filter (where stored.collides)
from pg_temp.cht_sync_page page
cross join lateral (
    select s.source,
        exists (select from {schema}.couchdb_collision c where c._id = page._id offset 0) as collides
    from {schema}.{table} s where s._id = page._id
    offset 0
) as stored
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
# A document that lives comes before a tombstone, then the order of the sources counts. Those that are not in it come
# last, and of these the owner keeps its row, and the one that has waited longest inherits.
_HAND_OVER = """
with heirs as (
    select distinct on (c._id) c._id, c.key, c.source, c._deleted, c.doc,
        stored.source as owner, coalesce(stored._deleted, false) as was_deleted, stored.doc as was
    from {contested} as contested
    join {schema}.{table} stored using (_id)
    join {schema}.couchdb_collision c using (_id)
    left join {schema}.couchdb_source theirs on theirs.source = c.source
    left join {schema}.couchdb_source owners on owners.source = stored.source
    where c.source <> stored.source
        and (c._deleted, coalesce(theirs.rank, 2147483647))
            < (coalesce(stored._deleted, false), coalesce(owners.rank, 2147483647))
    order by c._id, c._deleted, theirs.rank nulls last, c.saved_timestamp, c.source
), forgotten as (
    delete from {schema}.couchdb_collision c using heirs where c.key = heirs.key and c.source = heirs.source
), kept as (
    insert into {schema}.couchdb_collision (key, _id, source, _deleted, doc, saved_timestamp)
    select key, _id, owner, was_deleted, was, %(stamp)s from heirs
    on conflict (key, source) do update
    set _deleted = excluded._deleted, doc = excluded.doc, saved_timestamp = excluded.saved_timestamp
), moved as (
    update {schema}.{table} stored
    set saved_timestamp = %(stamp)s, _deleted = heirs._deleted, source = heirs.source, doc = heirs.doc
    from heirs where stored._id = heirs._id
    returning stored.source
)
select (select count(*) from heirs), count(*), count(*) filter (where source = %(source)s) from moved
"""
_OF_PAGE = "pg_temp.cht_sync_page"
_OF_KEYS = """(
    select distinct _id from {schema}.couchdb_collision where key > %(after)s and key <= %(last)s
)"""
# Bodies of deleted documents.
_COUNT_WHOLE = "select count(*) from {schema}.couchdb_collision where {is_whole}"
_FIND_WHOLE = """
select key, source from {schema}.couchdb_collision where (key, source) > (%s, %s) and {is_whole}
order by key, source limit %s
"""
_CUT = """
with wanted (k, s, was) as (
    select key, source, doc from {schema}.couchdb_collision
    where (key, source) in (select * from unnest(%s::bytea[], %s::varchar[])) and {is_whole}
), cut as (
    update {schema}.couchdb_collision set doc = {stub} from wanted where key = k and source = s and {is_whole}
    returning doc, was
)
select (select count(*) from wanted), count(*), count(*) filter (where doc is distinct from was) from cut
"""
# Of a source that gets another name: of documents that are there under both the states of one count.
_IN_BOTH = """
select count(*) from {schema}.couchdb_collision c join {schema}.{table} t using (_id)
where c.source = %(old)s and t.source = %(new)s or c.source = %(new)s and t.source = %(old)s
"""
_TAKE_STATES = """
with states as (
    delete from {schema}.couchdb_collision c using {schema}.{table} t
    where c._id = t._id and c.source = %(winner)s and t.source = %(loser)s
    returning c._id, c._deleted, c.doc
)
update {schema}.{table} t
set saved_timestamp = %(stamp)s, source = %(new)s, _deleted = states._deleted, doc = states.doc
from states where t._id = states._id
"""
_DROP_STATES = """
delete from {schema}.couchdb_collision c
where c.source = %(loser)s and (
    exists (select from {schema}.{table} t where t._id = c._id and t.source in (%(winner)s, %(new)s))
    or exists (select from {schema}.couchdb_collision other where other.key = c.key and other.source = %(winner)s)
)
"""
# Sources come from couchdb_progress, which is short; of each the index of couchdb_collision gives so many. A tombstone
# counts where it is hidden by a row that nobody will ever change.
_BY_OWNER = """
select p.source, stored.source, count(*)
from {schema}.couchdb_progress p
cross join lateral (
    select c._id, c._deleted from {schema}.couchdb_collision c where c.source = p.source order by c.key limit %s
) as beside
join {schema}.{table} stored on stored._id = beside._id
where not beside._deleted
    or not stored._deleted and not exists (select from {schema}.couchdb_source s where s.source = stored.source)
group by 1, 2 order by 1, 2
"""


def read_collisions(cursor: Cursor, names: Names, most: int | None = None) -> list[tuple[str, str | None, int]]:
    """How many documents of each source are hidden by rows of which other source.

    A tombstone hidden by the row of a source that is copied is left out: that row is what models should read.

    :param most: documents of each source that are looked at, default all of them.
    :return: source, source that owns the rows, documents; in the order of the names.
    """
    return names.execute(cursor, _BY_OWNER, (most,)).fetchall()


class Collisions:
    """The table ``couchdb_collision``."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def settle(self, cursor: Cursor, source: str, stamp: Any) -> tuple[int, int]:
        """Decides who owns each row of the page table that has just been stored.

        :param cursor: of the transaction that stores the page, which holds the lock of stamps.
        :return: documents that another source's row hides, and rows that changed their owner.
        :raises StoreError: if a trigger keeps a row from changing its owner.
        """
        values = {"source": source, "stamp": stamp}
        foreign, known = self._names.row(cursor, _FOREIGN, values)
        if not foreign and not known:
            return 0, 0
        cursor.execute("analyze pg_temp.cht_sync_page")
        if known:
            self._names.execute(cursor, _FORGET_OWNED, values)
        if foreign:
            self._names.execute(cursor, _KEEP_BESIDE, values)
        moved, taken = self._hand_over(cursor, _OF_PAGE, values)
        return foreign - taken, moved

    def settle_again(self, cursor: Cursor, keys: tuple[bytes, bytes], stamp: Any) -> int:
        """Decides again who owns rows that collide, as after a change of the order.

        :param keys: of ``couchdb_collision``: behind the first of these, up to the second.
        :raises StoreError: if a trigger keeps a row from changing its owner.
        """
        after, last = map(psycopg2.Binary, keys)
        values = {"source": None, "stamp": stamp, "after": after, "last": last}
        return self._hand_over(cursor, _OF_KEYS, values)[0]

    def count_whole(self, cursor: Cursor) -> int:
        """How many deleted documents are more than a stub."""
        return int(self._names.value(cursor, _COUNT_WHOLE, **STUB_SQL))

    def find_whole(self, cursor: Cursor, after: tuple[bytes, str], limit: int) -> list[tuple[bytes, str]]:
        """Some of these."""
        found = self._names.execute(cursor, _FIND_WHOLE, (*after, limit), **STUB_SQL)
        return [(bytes(key), source) for key, source in found]

    def cut(self, cursor: Cursor, found: list[tuple[bytes, str]]) -> tuple[int, int, int]:
        """Cuts deleted documents down to stubs: how many were to be cut, were written, and are stubs now."""
        values = ([psycopg2.Binary(key) for key, _ in found], [source for _, source in found])
        wanted, updated, stubs = self._names.row(cursor, _CUT, values, **STUB_SQL)
        return wanted, updated, stubs

    def in_both(self, cursor: Cursor, old: str, new: str) -> int:
        """How many documents two sources have, one of them as the row."""
        return int(self._names.value(cursor, _IN_BOTH, {"old": old, "new": new}))

    def unite(self, cursor: Cursor, loser: str, winner: str, new: str, stamp: Any) -> None:
        """Merges two sources that both become ``new``: where both have a document, the state of the winner stays."""
        values = {"loser": loser, "winner": winner, "new": new, "stamp": stamp}
        self._names.execute(cursor, _TAKE_STATES, values)
        self._names.execute(cursor, _DROP_STATES, values)

    def _hand_over(self, cursor: Cursor, contested: str, values: dict[str, Any]) -> tuple[int, int]:
        """Gives rows to their heirs; how many, and to the source of the page."""
        due, moved, taken = self._names.row(cursor, _HAND_OVER, values, contested=self._names.compose(contested))
        if moved < due:
            raise not_stored(cursor, self._names, due - moved, due)
        return moved, taken
