"""Whether Postgres answers and lets each role do its part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Connection

from cht_sync.check.clock import compared
from cht_sync.check.finding import Finding, State, failed, ok, warning
from cht_sync.check.rights import missing_for_documents, missing_for_models
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.connection import connect, describe, explained
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.migrations import Schema
from cht_sync.store.tombstones import TombstoneStore

OLDEST = 14
ROLES_SCRIPT = "grant it, or run include/roles/roles.sql"


def check_postgres(settings: Settings) -> Iterator[Finding]:
    """Findings about the role of the documents and that of the models."""
    yield from _checked("Postgres, documents", lambda: postgres_connection(settings), settings, _check_documents)
    yield from _checked("Postgres, models", lambda: dbt_connection(settings), settings, _check_models)


_Check = Callable[[Any, Connection, Settings], Iterator[Finding]]


def _checked(subject: str, find: Callable[[], Connection], settings: Settings, check: _Check) -> Iterator[Finding]:
    try:
        connection = find()
        with closing(connect(connection, "cht_sync check")) as conn:
            yield _server(conn, connection, subject)
            yield from check(conn, connection, settings)
    except (SettingsError, StoreError) as error:
        yield failed(subject, str(error))


def _server(conn: Any, connection: Connection, subject: str) -> Finding:
    with explained(connection, "tell its version"), conn, conn.cursor() as cursor:
        cursor.execute("select pg_is_in_recovery() or current_setting('default_transaction_read_only')::boolean")
        read_only = cursor.fetchone()[0]
    major = conn.server_version // 10_000
    seen = f"PostgreSQL {major} answers {describe(connection)}"
    if read_only:
        return failed(subject, f"{seen}, but is read-only: let POSTGRES_HOST lead to the primary.")
    if major < OLDEST:
        return warning(subject, f"{seen}; versions before {OLDEST} were never tested: upgrade it.")
    return ok(subject, f"{seen}.")


def _check_documents(conn: Any, connection: Connection, settings: Settings) -> Iterator[Finding]:
    raw = settings.raw_table
    yield _rights("Rights, documents", connection, missing_for_documents(conn, connection, raw))
    tables = _tables(conn, connection, settings)
    yield tables
    if tables.state is State.OK and not settings.tombstone_bodies and not Schema(conn, connection, raw).pending():
        yield from _tombstones(connection, settings)
    yield _clock(conn, connection)


def _check_models(conn: Any, connection: Connection, settings: Settings) -> Iterator[Finding]:
    missing = missing_for_models(conn, connection, settings.raw_table, settings.dbt_schema)
    yield _rights("Rights, models", connection, missing)


def _rights(subject: str, connection: Connection, missing: list[str]) -> Finding:
    if missing:
        return failed(subject, f"role {connection.login!r} may not {', nor '.join(missing)}: {ROLES_SCRIPT}.")
    return ok(subject, f"role {connection.login!r} has what it needs.")


def _tables(conn: Any, connection: Connection, settings: Settings) -> Finding:
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


def _clock(conn: Any, connection: Connection) -> Finding:
    before = datetime.now(UTC)
    with explained(connection, "tell the time"), conn, conn.cursor() as cursor:
        cursor.execute("select clock_timestamp()")
        theirs = cursor.fetchone()[0]
    return compared("Clock of Postgres", theirs, before, datetime.now(UTC))
