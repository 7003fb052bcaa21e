"""A transaction in a connection of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.session import PatientSession


@contextmanager
def transaction(connection: Connection, application_name: str, doing: str) -> Iterator[Cursor]:
    """A cursor in a transaction and a connection of its own, for what is asked now and then."""
    with closing(PatientSession(connection, application_name)) as session, session.transaction(doing) as cursor:
        yield cursor
