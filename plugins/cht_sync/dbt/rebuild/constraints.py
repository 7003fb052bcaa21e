"""Holds the constraints that a project declares against those that Postgres has."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.project.manifest import Manifest, Node
from cht_sync.dbt.rebuild.manifest import constrained, constraints, foreign_keys, models

_RELATIONS = """
select n.nspname, c.relname, c.oid
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind in ('r', 'p') and n.nspname = any(%s)
"""
_CONSTRAINTS = """
select c.conrelid, c.contype::text, c.confdeltype::text, tn.nspname, t.relname,
    array(select attname::text from unnest(c.conkey) with ordinality as k (num, place)
        join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.num order by k.place),
    array(select attname::text from unnest(c.confkey) with ordinality as k (num, place)
        join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.num order by k.place)
from pg_constraint c
left join pg_class t on t.oid = c.confrelid
left join pg_namespace tn on tn.oid = t.relnamespace
where c.conrelid = any(%s)
"""
_NOT_NULL = "select attrelid, attname::text from pg_attribute where attrelid = any(%s) and attnotnull and attnum > 0"
_KINDS = {"unique": "u", "primary_key": "p"}


def missing_by_model(cursor: Cursor, manifest: Manifest, among: Collection[str] | None = None) -> dict[str, list[str]]:
    """What contracts of models declare and their tables lack, by unique id; of all models where ``among`` is None."""
    declared = {
        name: node for name, node in models(manifest).items() if constrained(node) and (among is None or name in among)
    }
    cursor.execute(_RELATIONS, (list({node["schema"] for node in declared.values()}),))
    there = {(schema, name): oid for schema, name, oid in cursor.fetchall()}
    cursor.execute(_CONSTRAINTS, (list(there.values()),))
    rows = cursor.fetchall()
    cursor.execute(_NOT_NULL, (list(there.values()),))
    not_null = set(cursor.fetchall())
    found = {}
    for name, node in declared.items():
        if oid := there.get((node["schema"], node["alias"])):
            found[name] = list(_missing(manifest, node, oid, [row for row in rows if row[0] == oid], not_null))
    return {name: lines for name, lines in found.items() if lines}


def _missing(
    manifest: Manifest, node: Node, oid: int, rows: list[Any], not_null: Collection[tuple[int, str]]
) -> Iterator[str]:
    relation = f"{node['schema']}.{node['alias']}"
    for key in foreign_keys(manifest, node):
        if not any(_is(key, row) for row in rows):
            target = f"{key.schema}.{key.table}".lstrip(".")
            cascade = " on delete cascade" if key.cascades else ""
            yield f"{relation} ({', '.join(key.columns)}): foreign key to {target}{cascade}"
    for columns, constraint in constraints(node):
        kind = constraint["type"]
        if kind in _KINDS and not any(row[1] == _KINDS[kind] and set(row[5]) == set(columns) for row in rows):
            yield f"{relation} ({', '.join(columns)}): {kind.replace('_', ' ')}"
        lost = [column for column in columns if kind == "not_null" and (oid, column) not in not_null]
        yield from (f"{relation} ({column}): not null" for column in lost)
    checks = sum(constraint["type"] == "check" for _, constraint in constraints(node))
    if sum(row[1] == "c" for row in rows) < checks:
        yield f"{relation}: one of {checks} checks"


def _is(key: Any, row: Any) -> bool:
    _, kind, on_delete, schema, table, columns, target_columns = row
    return (
        kind == "f"
        and tuple(columns) == key.columns
        and (schema, table) == (key.schema or schema, key.table)
        and tuple(target_columns) == (key.target_columns or tuple(target_columns))
        and (on_delete == "c" or not key.cascades)
    )
