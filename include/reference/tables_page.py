"""docs/reference-tables.md, from the catalogue of a database that the migrations have made."""

from __future__ import annotations

from psycopg2.extensions import cursor as Cursor

HEAD = """# Tables

Made by `make reference` from a database that `include/sql` has made, and its comments there. They are in the schema
`POSTGRES_SCHEMA`; the table of the documents is named by `POSTGRES_TABLE`. The tables of the models are in dbt's own
documentation: [dbt docs](how-to-run-models.md#dbt-docs).
"""
_TABLES = """
select c.oid, c.relname::text, obj_description(c.oid, 'pg_class'),
    (select string_agg(a.attname, ', ' order by k.place) from pg_index i
        cross join unnest(i.indkey) with ordinality as k (num, place)
        join pg_attribute a on a.attrelid = c.oid and a.attnum = k.num
        where i.indrelid = c.oid and i.indisprimary)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relkind in ('r', 'p')
order by c.relname
"""
_COLUMNS = """
select attname::text, format_type(atttypid, atttypmod), attnotnull, col_description(attrelid, attnum)
from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped order by attnum
"""


def tables_page(cursor: Cursor, schema: str) -> str:
    """The page.

    :param cursor: in a database where the migrations ran.
    """
    lines = [HEAD]
    cursor.execute(_TABLES, (schema,))
    for oid, name, said, key in cursor.fetchall():
        lines.append(f"\n## {name}\n")
        lines += [f"{said}\n"] if said else []
        lines += [f"Primary key: {key}.\n"] if key else []
        lines += ["| column | type | null | |", "|---|---|---|---|"]
        cursor.execute(_COLUMNS, (oid,))
        for column, kind, required, about in cursor.fetchall():
            lines.append(
                f"| `{column}` | {kind} | {'no' if required else 'yes'} | {about or ''} |".replace("|  |", "| |")
            )
    return "\n".join(lines) + "\n"
