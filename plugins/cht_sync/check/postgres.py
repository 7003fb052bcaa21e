"""Whether Postgres answers and lets each role do its part; nothing is written to find out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from airflow.sdk import Connection

from cht_sync.check.finding import Finding, State, clock_finding, failed, ok, warning
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.connection import Session, connect, describe, explained
from cht_sync.postgres.lookups import value_of
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.migrations import Schema
from cht_sync.store.tombstones import TombstoneStore

OLDEST = 14
ROLES_SCRIPT = "grant it, or run include/roles/roles.sql"
_READ_ONLY = "select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean"
# Source: https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-ACCESS
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


def check_postgres(settings: Settings) -> Iterator[Finding]:
    """Findings about the role of the documents and that of the models."""
    for subject, connection_of, check in (
        ("Postgres, documents", postgres_connection, _check_documents),
        ("Postgres, models", dbt_connection, _check_models),
    ):
        try:
            connection = connection_of(settings)
            with closing(connect(connection, "cht_sync check")) as conn:
                yield _server(conn, connection, subject)
                yield from check(conn, connection, settings)
        except (SettingsError, StoreError) as error:
            yield failed(subject, str(error))


def _server(conn: Session, connection: Connection, subject: str) -> Finding:
    with explained(connection, "tell its version"), conn, conn.cursor() as cursor:
        read_only = value_of(cursor, _READ_ONLY)
    major = conn.server_version // 10_000
    seen = f"PostgreSQL {major} answers {describe(connection)}"
    if read_only:
        return failed(subject, f"{seen}, but is read-only: let POSTGRES_HOST lead to the primary.")
    if major < OLDEST:
        return warning(subject, f"{seen}; versions before {OLDEST} were never tested: upgrade it.")
    return ok(subject, f"{seen}.")


def _check_documents(conn: Session, connection: Connection, settings: Settings) -> Iterator[Finding]:
    raw = settings.raw_table
    missing = _of_schema(conn, connection, raw.schema) + _of_table(conn, connection, raw, WRITES, owner=True)
    yield _rights("Rights, documents", connection, missing)
    tables = _tables(conn, connection, settings)
    yield tables
    if tables.state is State.OK and not settings.tombstone_bodies and not Schema(conn, connection, raw).pending():
        with TombstoneStore(connection, raw, "cht_sync check") as store:
            if store.some():
                yield warning(
                    "Deleted documents",
                    "some still hold names and other fields: cut them with `python -m cht_sync tombstones`, or set"
                    " CHT_TOMBSTONE_BODIES=keep.",
                )
    before = datetime.now(UTC)
    with explained(connection, "tell the time"), conn, conn.cursor() as cursor:
        theirs = value_of(cursor, "select clock_timestamp()")
    yield clock_finding("Clock of Postgres", theirs, before, datetime.now(UTC))


def _check_models(conn: Session, connection: Connection, settings: Settings) -> Iterator[Finding]:
    # The starter reads the second, and leaves documents of a second source out where it may not.
    tables = settings.raw_table, RawTable(settings.raw_table.schema, "couchdb_collision")
    reads = [lack for table in tables for lack in _of_table(conn, connection, table, ["select"], owner=False)]
    missing = list(dict.fromkeys([*_of_schema(conn, connection, settings.dbt_schema), *reads]))
    yield _rights("Rights, models", connection, missing)


def _rights(subject: str, connection: Connection, missing: list[str]) -> Finding:
    if missing:
        return failed(subject, f"role {connection.login!r} may not {', nor '.join(missing)}: {ROLES_SCRIPT}.")
    return ok(subject, f"role {connection.login!r} has what it needs.")


def _tables(conn: Session, connection: Connection, settings: Settings) -> Finding:
    raw = settings.raw_table
    subject = f"Table {raw.schema}.{raw.table}"
    try:
        pending = Schema(conn, connection, raw).pending()
    except (SettingsError, StoreError) as error:
        return failed(subject, str(error))
    return ok(subject, f"the first run applies {', '.join(pending)}." if pending else "every migration is applied.")


def _of_schema(conn: Session, connection: Connection, schema: str) -> list[str]:
    """What the role lacks in a schema that it makes tables in, as in "create tables in schema 'v1'"."""
    with explained(connection, "tell its rights"), conn, conn.cursor() as cursor:
        cursor.execute(_SCHEMA, (schema,))
        [(temporary, create)] = cursor.fetchall()
    missing = [] if create else [f"create tables in schema {schema!r}"]
    return missing if temporary else [*missing, f"make temporary tables in database {connection.schema!r}"]


def _of_table(conn: Session, connection: Connection, raw: RawTable, wanted: list[str], owner: bool) -> list[str]:
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
