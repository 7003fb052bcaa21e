"""A transaction in a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.connection import connect, explained
from cht_sync.postgres.lock_watch import LockWatch


@contextmanager
def transaction(connection: Connection, application_name: str, doing: str) -> Iterator[Cursor]:
    """A cursor in a transaction and a connection of its own, for what is asked now and then."""
    watch = LockWatch(connection, doing)
    with (
        explained(connection, doing, watch),
        closing(connect(connection, application_name)) as conn,
        watch.of_backend(conn),
        conn,
        conn.cursor() as cursor,
    ):
        yield cursor
