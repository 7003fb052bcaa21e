"""Columns of the tables that dbt adds to: as they are, as it built them, and as their contracts declare them."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor
from psycopg2.extensions import string_types

from cht_sync.dbt.project.lineage import MADE_ANEW, Kept
from cht_sync.dbt.tables.built_models import BuiltModels, Columns, Place

log = logging.getLogger(__name__)
KINDS = {"v": "view", "m": "materialized view", "f": "foreign table"}
# What is alike for dbt, which compares the names that psycopg2 has for types; of others the number tells.
# Source: ``data_type_code_to_name`` in dbt-postgres
_TYPES = "select t, to_regtype(t)::oid::bigint from unnest(%s) as t"
_FOUND = """
set local search_path = '';
select n.nspname::text, c.relname::text, c.relkind::text, c.oid::bigint, a.attname::text,
    format_type(a.atttypid, a.atttypmod), a.atttypid::bigint,
    a.attnotnull and not a.atthasdef and a.attidentity = '',
    (select min(r.rulename)::text from pg_rewrite r where r.ev_class = c.oid and r.ev_type in ('2', '3', '4')
        and r.is_instead and r.ev_enabled in ('O', 'A')),
    row_security_active(c.oid)
from unnest(%s::text[], %s::text[]) as wanted (schema, name)
join pg_namespace n on n.nspname = wanted.schema
join pg_class c on c.relnamespace = n.oid and c.relname = wanted.name and c.relkind in ('r', 'p', 'v', 'm', 'f')
left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
order by n.nspname, c.relname, a.attnum
"""


@dataclass(slots=True)
class Found:
    """A relation as it is.

    :param kind: ``relkind``.
    :param types: number of each type.
    :param required: columns that must be given a value.
    :param instead: a rule that does something else in place of what is written; empty for none.
    :param hides: whether row security decides which rows the role of the models sees.
    """

    kind: str
    oid: int
    columns: Columns = field(default_factory=dict)
    types: dict[str, int] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    instead: str = ""
    hides: bool = False


def read_tables(cursor: Cursor, places: Collection[Place]) -> dict[Place, Found]:
    """Relations as they are, in one question for all of them."""
    found: dict[Place, Found] = {}
    cursor.execute(_FOUND, ([schema for schema, _ in places], [name for _, name in places]))
    for schema, name, kind, oid, column, type_name, type_number, required, rule, hides in cursor.fetchall():
        instead = rule if rule and kind in "rp" else ""
        one = found.setdefault((schema, name), Found(kind, oid, instead=instead, hides=hides))
        if column is not None:
            one.columns[column], one.types[column] = type_name, type_number
            one.required |= {column} if required else set()
    return found


def declared_types(cursor: Cursor, kept: Iterable[Kept]) -> dict[str, int]:
    """The numbers of the types that contracts name; none of those that are no names of types alone."""
    names = list({kind for one in kept for kind in one.declared.values()})
    try:
        cursor.execute(_TYPES, (names,))
    except psycopg2.Error:
        return {}  # a name that PostgreSQL cannot read: dbt says so
    return {name: number for name, number in cursor.fetchall() if number}


def complaint(one: Kept, found: Found | None, built: Columns | None, numbers: Mapping[str, int]) -> str:
    """What is to be said of a table that is not as it was built.

    :param found: its relation; None where it is not there.
    :param built: the columns that dbt gave it; None where that is not known, then its contract counts.
    :return: one or more sentences; empty where dbt can add to it.
    """
    place = ".".join(one.place)
    if found is None:
        if built is not None:
            log.warning("%s is not there any more: dbt makes it anew now, without what people had put on it.", place)
        return ""
    if found.kind not in "rp":
        lines = [f"expected a table, found a {KINDS[found.kind]}"]
    else:
        lines = list(_lines(one, found, built, numbers))
    if found.hides and not lines:
        return (
            f"Row security of {place} holds for the role of the models too, which must see all of its rows: say `alter"
            f" table {place} no force row level security`."
        )
    if found.instead and not lines:
        return (
            f"Rule {found.instead} on {place} does something else instead of what the model writes, so that rows would"
            " be missing or stay without a word: drop the rule, or let it do so in addition (DO ALSO)."
        )
    if not lines:
        return ""
    first = " (once it does not say `full_refresh: false` any more)" if one.stays else ""
    return (
        f"{place} is not as it was built: {'; '.join(lines)}. Trigger the DAG cht_pipeline_deploy with the param"
        f' full_refresh: ["{one.name}"]{first}, which builds it anew from all documents, or put the table back as it'
        " was."
    )


def _lines(one: Kept, found: Found, built: Columns | None, numbers: Mapping[str, int]) -> Iterator[str]:
    expected = one.declared if built is None else built
    for column, kind in expected.items():
        there = found.columns.get(column)
        if there is None:
            yield f"column {column}: expected {kind}, found none"
        elif built is None:
            number = numbers.get(kind)
            if number and _for_dbt(number) != _for_dbt(found.types[column]):
                yield f"column {column}: expected {kind}, found {there}"
        elif there != kind:
            yield f"column {column}: expected {kind}, found {there}"
    for column in [name for name in found.columns if expected and name not in expected]:
        # dbt gives values to all columns of the table that it finds, or drops those that it does not know.
        if one.on_schema_change == "append_new_columns" and column not in found.required:
            log.warning("%s has a column %s that no model builds.", ".".join(one.place), column)
        else:
            yield f"column {column}: expected none, found {found.columns[column]}"


def _for_dbt(number: int) -> Any:
    return string_types[number].name if number in string_types else number


def built_now(before: Found | None, after: Found, built: Columns | None) -> Columns:
    """The columns that dbt has built, after a run of it.

    :param before: the relation before the run; None where it was not there.
    :param built: the columns that were known to be dbt's, or that the contract declares; None for neither.
    """
    if not built or before is None or before.oid != after.oid:
        return after.columns
    return {
        column: kind
        for column, kind in after.columns.items()
        if column in built or column not in before.columns or before.columns[column] != kind
    }


def note_rebuilt(cursor: Cursor, schema: str, nodes: Iterable[Mapping[str, Any]]) -> None:
    """Notes the columns of rebuilt tables, in the transaction that puts them in place."""
    places = {(node["schema"], node["alias"]): node["config"]["materialized"] in MADE_ANEW for node in nodes}
    found = read_tables(cursor, [place for place, made_anew in places.items() if not made_anew])
    built = {place: one.columns for place, one in found.items() if one.kind in "rp"}
    BuiltModels(cursor, schema).record(built, [place for place, made_anew in places.items() if made_anew])
