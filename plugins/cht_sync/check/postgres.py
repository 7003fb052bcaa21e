"""Whether Postgres answers and lets each role do its part; nothing is written to find out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime

from airflow.sdk import Connection

from cht_sync.check.finding import Finding, State, clock_finding, failed, ok, warning
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.connection import Session, connect, describe, explained
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.migrations import Schema
from cht_sync.store.tombstones import TombstoneStore

OLDEST = 14
ROLES_SCRIPT = "grant it, or run include/roles/roles.sql"
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
    yield from _checked("Postgres, documents", lambda: postgres_connection(settings), settings, _check_documents)
    yield from _checked("Postgres, models", lambda: dbt_connection(settings), settings, _check_models)


_Check = Callable[[Session, Connection, Settings], Iterator[Finding]]


def _checked(subject: str, find: Callable[[], Connection], settings: Settings, check: _Check) -> Iterator[Finding]:
    try:
        connection = find()
        with closing(connect(connection, "cht_sync check")) as conn:
            yield _server(conn, connection, subject)
            yield from check(conn, connection, settings)
    except (SettingsError, StoreError) as error:
        yield failed(subject, str(error))


def _server(conn: Session, connection: Connection, subject: str) -> Finding:
    with explained(connection, "tell its version"), conn, conn.cursor() as cursor:
        cursor.execute("select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean")
        [(read_only,)] = cursor.fetchall()
    major = conn.server_version // 10_000
    seen = f"PostgreSQL {major} answers {describe(connection)}"
    if read_only:
        return failed(subject, f"{seen}, but is read-only: let POSTGRES_HOST lead to the primary.")
    if major < OLDEST:
        return warning(subject, f"{seen}; versions before {OLDEST} were never tested: upgrade it.")
    return ok(subject, f"{seen}.")


def _check_documents(conn: Session, connection: Connection, settings: Settings) -> Iterator[Finding]:
    raw = settings.raw_table
    yield _rights("Rights, documents", connection, missing_for_documents(conn, connection, raw))
    tables = _tables(conn, connection, settings)
    yield tables
    if tables.state is State.OK and not settings.tombstone_bodies and not Schema(conn, connection, raw).pending():
        yield from _tombstones(connection, settings)
    yield _clock(conn, connection)


def _check_models(conn: Session, connection: Connection, settings: Settings) -> Iterator[Finding]:
    missing = missing_for_models(conn, connection, settings.raw_table, settings.dbt_schema)
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
    if pending:
        return ok(subject, f"the first run applies {', '.join(pending)}.")
    return ok(subject, "every migration is applied.")


def _tombstones(connection: Connection, settings: Settings) -> Iterator[Finding]:
    with TombstoneStore(connection, settings.raw_table, "cht_sync check") as store:
        if store.some():
            yield warning(
                "Deleted documents",
                "some still hold names and other fields: cut them with `python -m cht_sync tombstones`, or set"
                " CHT_TOMBSTONE_BODIES=keep.",
            )


def _clock(conn: Session, connection: Connection) -> Finding:
    before = datetime.now(UTC)
    with explained(connection, "tell the time"), conn, conn.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        [(theirs,)] = cursor.fetchall()
    return clock_finding("Clock of Postgres", theirs, before, datetime.now(UTC))


def missing_for_documents(conn: Session, connection: Connection, raw: RawTable) -> list[str]:
    """What the role that writes documents lacks.

    :return: what it may not do, as in "create tables in schema 'v1'".
    """
    return _of_schema(conn, connection, raw.schema) + _of_table(conn, connection, raw, WRITES, owner=True)


def missing_for_models(conn: Session, connection: Connection, raw: RawTable, schema: str) -> list[str]:
    """What the role that builds the models lacks."""
    missing = _of_schema(conn, connection, schema) + _of_table(conn, connection, raw, ["select"], owner=False)
    # The starter reads it, and leaves documents of a second source out where it may not.
    beside = RawTable(raw.schema, "couchdb_collision")
    return missing + [
        each for each in _of_table(conn, connection, beside, ["select"], owner=False) if each not in missing
    ]


def _of_schema(conn: Session, connection: Connection, schema: str) -> list[str]:
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
