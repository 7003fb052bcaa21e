"""Connections to Postgres, with failures turned into sentences."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, cast
from weakref import WeakSet

import psycopg2
import psycopg2.extensions
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Connection
from psycopg2 import errors

from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.keepalive import KEEPALIVE, SET
from cht_sync.postgres.pooler import keeps_sessions
from cht_sync.postgres.query import one_row
from cht_sync.postgres.tls import secured, tls_advice
from cht_sync.redaction import message_of, of_error

STATEMENT_TIMEOUT = "10min"
LOCK_TIMEOUT = "2min"
# Nothing of a role that may create functions or operators in a schema is found without that schema's name. Where only
# its owner may in public, that stays: the functions of triggers that are not ours may have been written so.
# Source: https://www.postgresql.org/docs/current/ddl-schemas.html#DDL-SCHEMAS-PATTERNS
_SEARCH_PATH = """
case when exists (
    select from pg_namespace n cross join aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a
    where n.nspname = 'public' and a.privilege_type = 'CREATE' and a.grantee <> n.nspowner
        and (a.grantee = 0 or not pg_has_role(current_user, a.grantee, 'usage'))
) then 'pg_catalog, pg_temp' else 'pg_catalog, public, pg_temp' end"""
_FINAL_AT_CONNECT = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")


# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_ENDED = {"57P01", "57P02", "57P03", "57P05", "25P03"}
_PASSING = {"40001", "40P01", "53300"}
# What ends a wait for a lock.
_WAITED = {"55P03", "57014"}
_REMEDIES = {
    "25006": "it is read-only, as a standby or after a fail-over: let POSTGRES_HOST lead to the primary",
    "53100": "its disk is full: free space there, the next run goes on from the checkpoint",
    "53300": "it has no connection left: raise max_connections or end idle sessions",
    "55P03": "a lock on the table was held for too long: look in pg_stat_activity for who holds it",
    "57014": "the statement took too long or was cancelled: look in pg_stat_activity for what it waits for",
}


class Psycopg2Hook(PostgresHook):
    """Airflow's Postgres hook on psycopg2, although the provider picks psycopg 3 where SQLAlchemy 2 is installed."""

    def __init__(self, connection: Connection, waits: bool = True) -> None:
        super().__init__(connection.conn_id, connection=connection)
        self._waits = waits

    def _create_connection(self, conn_args: dict[str, Any]) -> Session:
        conn_args.pop("cursor_factory", None)
        conn_args.pop("row_factory", None)
        return psycopg2.connect(**conn_args, async_=not self._waits, connection_factory=Session)

    def get_conn(self) -> Session:
        """Opens it."""
        return cast("Session", super().get_conn())


class Session(psycopg2.extensions.connection):
    """A connection that knows its backend: behind a pooler ``info.backend_pid`` is an invented number."""

    served_by: int | None = None
    _all: WeakSet[Session] = WeakSet()
    _changes = threading.Lock()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        with self._changes:
            self._all.add(self)

    @classmethod
    def all(cls) -> list[Session]:
        """Those of this process."""
        with cls._changes:
            return list(cls._all)


def cancel_statements() -> None:
    """Ends every statement that this process waits for; for a task, which has a process of its own, all that it does.

    Whoever waits gets an error, which is not tried again.
    """
    for session in Session.all():
        with suppress(psycopg2.Error):
            session.cancel()


def describe(connection: Connection) -> str:
    """Where a connection leads, without its password."""
    return f"{connection.login}@{connection.host}:{connection.port or 5432}/{connection.schema}"


def connect(connection: Connection, application_name: str) -> Session:
    """Opens a connection whose statements are bounded in time, over verified TLS where the server offers it.

    :param application_name: what ``pg_stat_activity`` shows, for whoever looks for a lock's holder.
    :raises SettingsError: if role, password, database or a certificate are refused, or a pooler stands before the
        server that does not keep sessions.
    """
    connection = secured(connection)
    try:
        conn = Psycopg2Hook(connection).get_conn()
    except psycopg2.Error as error:
        text = " ".join(str(error).split())
        about_tls = tls_advice(connection, text)
        settings = f"check POSTGRES_HOST, _PORT, _USER, _PASSWORD and _DB, or connection {connection.conn_id!r}"
        message = f"Postgres refused or did not answer {describe(connection)} ({text}): {about_tls or settings}."
        final = about_tls or any(each in text for each in _FINAL_AT_CONNECT)
        if final or not isinstance(error, psycopg2.OperationalError):
            raise SettingsError(message) from None
        raise StoreError(message, passing=True, lost=True) from None
    try:
        with explained(connection, "begin a session"):
            _check_pooler(conn, connection)
            _bound(conn, application_name)
    except BaseException:
        conn.close()
        raise
    return conn


def _check_pooler(conn: Session, connection: Connection) -> None:
    place = (connection.host, connection.port, connection.schema, connection.login)
    if not keeps_sessions(conn, place, lambda: Psycopg2Hook(connection, waits=False).get_conn()):
        raise SettingsError(
            f"Postgres at {describe(connection)} is reached through a pooler that keeps no sessions, as pgbouncer with"
            " pool_mode = transaction or statement, and with them neither locks nor settings: set pool_mode = session,"
            f" or let POSTGRES_HOST and _PORT, or connection {connection.conn_id!r}, lead to Postgres itself."
        )


def _bound(conn: Session, application_name: str) -> None:
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "select set_config('application_name', %s, false), set_config('statement_timeout', %s, false),"
            " set_config('lock_timeout', %s, false), set_config('timezone', 'UTC', false),"
            f" set_config('search_path', {_SEARCH_PATH}, false), pg_backend_pid()",
            (application_name[:63], STATEMENT_TIMEOUT, LOCK_TIMEOUT),
        )
        conn.served_by = one_row(cursor)[-1]
        # A process that was killed or cut off must not hold its claims for as long as TCP hopes.
        cursor.execute(SET, (list(KEEPALIVE), list(KEEPALIVE.values())))
    conn.set_client_encoding("UTF8")


@contextmanager
def explained(connection: Connection, doing: str, held_by: Callable[[], str] = str) -> Iterator[None]:
    """Turns what Postgres refuses into one sentence.

    :param doing: what was tried, such as "create the tables".
    :param held_by: says which sessions hold the lock that was waited for; empty where none is known.
    """
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise SettingsError(
            f"Role {connection.login!r} may not {doing} in database {connection.schema!r}"
            f" ({message_of(error)}): grant it the right, or give another role in POSTGRES_USER or connection"
            f" {connection.conn_id!r}."
        ) from None
    except psycopg2.Error as error:
        code, lost = error.pgcode or "", is_lost(error)
        remedy = _remedy(code, held_by())
        text = f"Postgres at {describe(connection)} could not {doing} ({of_error(error)}); nothing of it was stored"
        # The cause would print DETAIL and CONTEXT, which quote documents.
        raise StoreError(f"{text}{remedy}.", passing=lost or code in _PASSING, lost=lost, code=code) from None


def regclass_text(schema: str, table: str) -> str:
    """A qualified name as the text that ``to_regclass`` reads, whatever the names hold."""
    return ".".join('"{}"'.format(name.replace('"', '""')) for name in (schema, table))


def is_lost(error: psycopg2.Error) -> bool:
    """Whether the connection is gone; where the server said nothing, it is."""
    code = error.pgcode or ""
    said_nothing = not code and isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError))
    return said_nothing or code[:2] == "08" or code in _ENDED


def _remedy(code: str, blockers: str) -> str:
    if blockers and code in _WAITED:
        return (
            f": it waited for a lock that is held by {blockers}: let that end, or end it with pg_terminate_backend if"
            " nothing of it runs any more"
        )
    return next((f": {advice}" for start, advice in _REMEDIES.items() if code.startswith(start)), "")
