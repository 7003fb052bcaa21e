"""What a role of Postgres may not do that a run will ask of it; nothing is written to find out.

Source: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-ACCESS
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import Connection

from cht_sync.postgres.connection import explained
from cht_sync.settings.settings import RawTable

_SCHEMA = """
select has_database_privilege(current_database(), 'temporary'),
    coalesce(
        (select has_schema_privilege(oid, 'usage') and has_schema_privilege(oid, 'create')
            from pg_namespace where nspname = %s),
        has_database_privilege(current_database(), 'create')
    )
"""
_TABLE = """
select c.oid, has_schema_privilege(n.oid, 'usage'), pg_has_role(c.relowner, 'usage')
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relname = %s
"""
_PRIVILEGES = "select wanted from unnest(%s) as wanted where not has_table_privilege(%s::oid, wanted)"
WRITES = ["select", "insert", "update", "delete"]


def missing_for_documents(conn: Any, connection: Connection, raw: RawTable) -> list[str]:
    """What the role that writes documents lacks.

    :return: what it may not do, as in "create tables in schema 'v1'".
    """
    return _of_schema(conn, connection, raw.schema) + _of_table(conn, connection, raw, WRITES, owner=True)


def missing_for_models(conn: Any, connection: Connection, raw: RawTable, schema: str) -> list[str]:
    """What the role that builds the models lacks."""
    missing = _of_schema(conn, connection, schema) + _of_table(conn, connection, raw, ["select"], owner=False)
    # The starter reads it, and leaves documents of a second source out where it may not.
    beside = RawTable(raw.schema, "couchdb_collision")
    return missing + [
        each for each in _of_table(conn, connection, beside, ["select"], owner=False) if each not in missing
    ]


def _of_schema(conn: Any, connection: Connection, schema: str) -> list[str]:
    with explained(connection, "tell its rights"), conn, conn.cursor() as cursor:
        cursor.execute(_SCHEMA, (schema,))
        temporary, create = cursor.fetchone()
    missing = [] if create else [f"create tables in schema {schema!r}"]
    return missing if temporary else [*missing, f"make temporary tables in database {connection.schema!r}"]


def _of_table(conn: Any, connection: Connection, raw: RawTable, wanted: list[str], owner: bool) -> list[str]:
    """Nothing where the table is still to be made: who makes it owns it, or is granted it by default privileges."""
    with explained(connection, "tell its rights"), conn, conn.cursor() as cursor:
        cursor.execute(_TABLE, (raw.schema, raw.table))
        found = cursor.fetchone()
        if found is None:
            return []
        oid, usage, owns = found
        if not usage:
            return [f"use schema {raw.schema!r}"]
        cursor.execute(_PRIVILEGES, (wanted, oid))
        missing = [f"{privilege} on {raw.schema}.{raw.table}" for (privilege,) in cursor]
    # Migrations alter it, which only its owner may.
    return missing if owns or not owner else [*missing, f"alter {raw.schema}.{raw.table}, which it does not own"]
