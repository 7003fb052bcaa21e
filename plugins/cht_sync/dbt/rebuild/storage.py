"""How users want a relation and its columns to be stored and planned."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.relation import Relation, lost_of, tried

_OPTIONS = """
select split_part(o, '=', 1), substr(o, strpos(o, '=') + 1)
from (
    select 1 as part, '' as prefix, reloptions from pg_class where oid = %(oid)s
    union all
    select 2, 'toast.', t.reloptions from pg_class c join pg_class t on t.oid = c.reltoastrelid where c.oid = %(oid)s
) as both_tables
cross join unnest(reloptions) with ordinality as u (option, place)
cross join lateral (select prefix || option as o) as named
order by part, place
"""
_PLACE = """
select s.spcname::text, c.relpersistence::text, m.amname::text
from pg_class c left join pg_tablespace s on s.oid = c.reltablespace left join pg_am m on m.oid = c.relam
where c.oid = %s
"""
# A column's number of distinct values and its like are read by whoever analyzes it, so before that.
_COLUMNS = """
with of_columns as (
    select * from pg_attribute where attrelid = %(oid)s and attnum > 0 and not attisdropped
)
select attname::text, 'statistics target', format('set statistics %%s', attstattarget)
from of_columns where coalesce(attstattarget, -1) >= 0
union all
select attname::text, split_part(o, '=', 1),
    format('set (%%s = %%L)', split_part(o, '=', 1), substr(o, strpos(o, '=') + 1))
from of_columns cross join unnest(attoptions) o
union all
select attname::text, 'storage', 'set storage ' || case attstorage when 'p' then 'plain' when 'e' then 'external'
    when 'm' then 'main' else 'extended' end
from of_columns a join pg_type t on t.oid = a.atttypid where a.attstorage <> t.typstorage
union all
select attname::text, 'compression', 'set compression ' || case attcompression when 'l' then 'lz4' else 'pglz' end
from of_columns where attcompression <> ''
order by 1, 2
"""


@dataclass(frozen=True, slots=True)
class Storage:
    """What is not as it comes by itself.

    :param options: ``reloptions`` by name, those of the TOAST table too.
    :param tablespace: where that is not the database's own.
    :param persistence: ``relpersistence``.
    :param columns: by column and setting, what follows ``alter column``.
    """

    options: dict[str, str]
    tablespace: str | None
    persistence: str
    method: str | None
    columns: dict[tuple[str, str], str]


def storage(cursor: Cursor, oid: int) -> Storage:
    """Reads how a relation is stored."""
    cursor.execute(_OPTIONS, {"oid": oid})
    options = dict(cursor.fetchall())
    cursor.execute(_PLACE, (oid,))
    [(tablespace, persistence, method)] = cursor.fetchall()
    cursor.execute(_COLUMNS, {"oid": oid})
    settings = {(column, setting): clause for column, setting, clause in cursor.fetchall()}
    return Storage(options, tablespace, persistence, method, settings)


def store_like(cursor: Cursor, relation: Relation, wanted: Storage, there: set[str]) -> list[str]:
    """Stores a relation as another one of its kind was, save where the project says otherwise; returns what is lost."""
    own, name = storage(cursor, relation.oid), relation.name
    steps = [
        (f"the storage parameter {key} of {name}", relation.alter(f"set ({key} = {{}})", sql.Literal(value)))
        for key, value in wanted.options.items()
        if key not in own.options
    ]
    steps += [
        (f"{setting} of {name}.{column}", relation.alter("alter column {} ", sql.Identifier(column)) + sql.SQL(clause))
        for (column, setting), clause in wanted.columns.items()
        if column in there and (column, setting) not in own.columns
    ]
    places = ("tablespace", wanted.tablespace, own.tablespace), ("access method", wanted.method, own.method)
    steps += [
        (f"the {kind} {was} of {name}", relation.alter(f"set {kind} {{}}", sql.Identifier(was)))
        for kind, was, now in places
        if was and was != now
    ]
    return lost_of(cursor, steps)


def keep_persistence(cursor: Cursor, wanted: Collection[tuple[Relation, Storage]]) -> list[str]:
    """Lets tables be unlogged as the others of each pair were; returns what could not be kept, each with why."""
    left = [relation for relation, was in wanted if was.persistence == "u" and relation.kind == "r"]
    # A logged table may have no foreign key to an unlogged one: those that others point to come last.
    said: dict[str, str] = {}
    while left:
        said = {one.name: tried(cursor, one.alter("set unlogged")) for one in left}
        failed = [one for one in left if said[one.name]]
        if len(failed) == len(left):
            break
        left = failed
    return [f"that {one.name} is unlogged ({said[one.name]})" for one in left]
