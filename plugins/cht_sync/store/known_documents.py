"""Which documents of a source Postgres knows: as a row, as a collision, or in quarantine; asks the three tables."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.query import Names

# Those that are not deleted, in each place by itself, for each has an index of its own. In quarantine an _id that a
# text cannot hold stands as it is shown, which is no document's.
LIVE = (
    "select _id, doc->>'_rev' as rev from {schema}.{table}"
    " where source = %(source)s and not _deleted and _id > %(after)s",
    "select _id, doc->>'_rev' as rev from {schema}.couchdb_collision"
    " where source = %(source)s and not _deleted and _id > %(after)s",
    "select _id, _rev as rev from {schema}.couchdb_quarantine"
    " where source = %(source)s and resolved_at is null and _id > %(after)s"
    " and key = sha256(convert_to(_id, 'UTF8'))",
)
_LIVE = " union ".join(f"({each} order by _id limit %(limit)s)" for each in LIVE) + " order by _id limit %(limit)s"
_AMONG = """
select _id from {schema}.{table} where _id = any(%(ids)s) and coalesce(source, %(source)s) = %(source)s
union all select _id from {schema}.couchdb_collision where _id = any(%(ids)s) and source = %(source)s
union all select _id from {schema}.couchdb_quarantine
where source = %(source)s and resolved_at is null
    and key in (select sha256(convert_to(i, 'UTF8')) from unnest(%(ids)s::varchar[]) i)
"""
_HAS_ROWS = "select exists (select from {schema}.{table} where source = %s and not _deleted)"


def live(cursor: Cursor, names: Names, source: str, after: str, limit: int) -> list[tuple[str, str | None]]:
    """Those that are not deleted, in the order of their ids."""
    return names.execute(cursor, _LIVE, {"source": source, "after": after, "limit": limit}).fetchall()


def among(cursor: Cursor, names: Names, source: str, ids: list[str]) -> set[str]:
    """Those of some documents that are known, deleted ones too."""
    return {name for (name,) in names.execute(cursor, _AMONG, {"source": source, "ids": ids})}


def has_rows(cursor: Cursor, names: Names, source: str) -> bool:
    """Whether any document of a source has a row and is not deleted."""
    return bool(names.value(cursor, _HAS_ROWS, (source,)))
