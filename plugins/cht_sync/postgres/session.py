"""One session with Postgres: reconnects when it was lost, and retries for a while."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.common.retry import patiently
from cht_sync.errors import StoreError
from cht_sync.postgres.connection import STATEMENT_TIMEOUT, Session, connect, explained
from cht_sync.postgres.lock_watch import LockWatch

T = TypeVar("T")
TOLERANCE_S = 60.0
_BOUND = "select set_config('statement_timeout', %s, false)"
log = logging.getLogger(__name__)


class PatientSession:
    """A connection that is opened when it is needed.

    :param tolerance: seconds for which :meth:`patiently` tries again while Postgres restarts or reports a deadlock,
        default 60.
    :param on_close: called whenever the session is gone, and with it its locks.
    """

    def __init__(
        self,
        connection: Connection,
        application_name: str,
        tolerance: float = TOLERANCE_S,
        on_close: Callable[[], object] = lambda: None,
    ) -> None:
        self._connection, self._application_name, self._tolerance = connection, application_name, tolerance
        self._on_close = on_close
        self._open: Session | None = None

    @property
    def conn(self) -> Session:
        """The psycopg2 connection."""
        if self._open is None:
            self._open = connect(self._connection, self._application_name)
        return self._open

    def close(self) -> None:
        """Gives back the connection."""
        self._on_close()
        if self._open is not None:
            self._open.close()
            self._open = None

    @contextmanager
    def reconnecting(self) -> Iterator[None]:
        """Closes the connection where an error says that it is lost, so that the next use opens another."""
        try:
            yield
        except StoreError as error:
            if error.lost:
                self.close()
            raise

    @contextmanager
    def transaction(self, doing: str) -> Iterator[Cursor]:
        """A cursor inside of a transaction, which is committed at the end."""
        with self._watched(doing) as conn, conn, conn.cursor() as cursor:
            yield cursor

    @contextmanager
    def _watched(self, doing: str) -> Iterator[Session]:
        """The connection, while whatever waits for a lock says so."""
        watch = LockWatch(self._connection, doing)
        with self.reconnecting(), explained(self._connection, doing, lambda: watch.blockers):
            conn = self.conn
            with watch.of_backend(conn):
                yield conn

    @contextmanager
    def autocommitted(self, doing: str, timeout: str) -> Iterator[Cursor]:
        """A cursor for statements that allow no transaction; ``timeout`` of each as Postgres reads it: ``30min``."""
        with self._watched(doing) as conn:
            conn.autocommit = True
            try:
                with conn.cursor() as cursor:
                    cursor.execute(_BOUND, (timeout,))
                    yield cursor
            finally:
                if not conn.closed:
                    conn.cursor().execute(_BOUND, (STATEMENT_TIMEOUT,))
                    conn.autocommit = False

    def patiently(self, once: Callable[[], T]) -> T:
        """Calls until it succeeds, through restarts and deadlocks: whatever it does may be done again."""
        return patiently(once, lambda error: isinstance(error, StoreError) and error.passing, self._tolerance, log)

    def ask(self, doing: str, question: Callable[[Cursor], T]) -> T:
        """Runs a transaction that may as well be run twice."""

        def once() -> T:
            with self.transaction(doing) as cursor:
                return question(cursor)

        return self.patiently(once)
