"""Connections to Postgres, with failures turned into sentences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from airflow.providers.postgres.hooks.postgres import PostgresHook
from airflow.sdk import Connection
from psycopg2 import errors

from cht_sync.errors import SettingsError, StoreError

STATEMENT_TIMEOUT = "10min"
LOCK_TIMEOUT = "2min"
_FINAL_AT_CONNECT = ("authentication failed", "does not exist", "no pg_hba.conf entry", "no password supplied")


class Psycopg2Hook(PostgresHook):
    """Airflow's Postgres hook, always on psycopg2.

    The provider picks psycopg 3 where SQLAlchemy 2 is installed; one driver behaves alike everywhere.

    :param connection: connection to use, not looked up again.
    """

    def __init__(self, connection: Connection) -> None:
        super().__init__(connection.conn_id, connection=connection)

    def _create_connection(self, conn_args: dict[str, Any]) -> Any:
        conn_args.pop("cursor_factory", None)
        conn_args.pop("row_factory", None)
        return psycopg2.connect(**conn_args)


def describe(connection: Connection) -> str:
    """Where a connection leads, without its password.

    :param connection: a Postgres connection.
    """
    return f"{connection.login}@{connection.host}:{connection.port or 5432}/{connection.schema}"


def connect(connection: Connection, application_name: str) -> Any:
    """Opens a connection whose statements are bounded in time.

    :param connection: a Postgres connection.
    :param application_name: what ``pg_stat_activity`` shows, for whoever looks for a lock's holder.
    :return: a psycopg2 connection.
    :raises SettingsError: if role, password or database are refused.
    :raises StoreError: if the server cannot be reached.
    """
    try:
        conn: Any = Psycopg2Hook(connection).get_conn()
    except psycopg2.Error as error:
        text = " ".join(str(error).split())
        message = (
            f"Postgres refused or did not answer {describe(connection)} ({text}): check POSTGRES_HOST, _PORT,"
            f" _USER, _PASSWORD and _DB, or connection {connection.conn_id!r}."
        )
        final = any(each in text for each in _FINAL_AT_CONNECT) or not isinstance(error, psycopg2.OperationalError)
        raise (SettingsError if final else StoreError)(message) from None
    with conn, conn.cursor() as cursor:
        cursor.execute(
            "select set_config('application_name', %s, false), set_config('statement_timeout', %s, false),"
            " set_config('lock_timeout', %s, false), set_config('timezone', 'UTC', false)",
            (application_name[:63], STATEMENT_TIMEOUT, LOCK_TIMEOUT),
        )
    conn.set_client_encoding("UTF8")
    return conn


@contextmanager
def explained(connection: Connection, doing: str) -> Iterator[None]:
    """Turns what Postgres refuses into one sentence.

    :param connection: whose role is at work, for the text.
    :param doing: what was tried, as in "create the tables".
    :raises SettingsError: if the role has not the right.
    :raises StoreError: for any other failure of the server.
    """
    try:
        yield
    except errors.InsufficientPrivilege as error:
        raise SettingsError(
            f"Role {connection.login!r} may not {doing} in database {connection.schema!r}"
            f" ({_first_line(error)}): grant it the right, or give another role in POSTGRES_USER or connection"
            f" {connection.conn_id!r}."
        ) from None
    except psycopg2.Error as error:
        raise StoreError(
            f"Postgres at {describe(connection)} could not {doing}"
            f" ({error.pgcode or type(error).__name__}: {_first_line(error)}); nothing of it was stored."
        ) from None  # the cause would print DETAIL and CONTEXT, which quote documents


def _first_line(error: psycopg2.Error) -> str:
    """The message without its DETAIL and CONTEXT, which may quote a document."""
    return (error.diag.message_primary or str(error).split("\n", 1)[0] or "no message").strip()
