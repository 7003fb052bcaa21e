"""Finds out whether a pooler stands before Postgres that keeps no sessions, and so neither locks nor settings."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, connection

from cht_sync.postgres.query import one_row

# A busy pooler gives a connection the same process now and then, but not so often in a row.
ROUNDS, PAUSE_S = 25, 0.01
# A pooler in session mode that has no server left lets the second connection wait.
PATIENCE_S = 3.0
_WHO = "select pg_backend_pid()"
# Where this process has found sessions to be kept: checked once.
_kept: set[tuple[Any, ...]] = set()


def keeps_sessions(conn: connection, place: tuple[Any, ...], connect_again: Callable[[], connection]) -> bool:
    """Whether statements of a connection are all served by one process of Postgres, and no other connection's are.

    Postgres sends each client the number of the process that serves it, and a pooler invents one: without a pooler
    this costs one short question. Behind one that does not keep sessions the process changes between statements, or is
    lent to a second connection: a quiet pooler lends it to the next who asks, a busy one soon gives the first
    connection another.

    :param connect_again: begins to open a second connection like it, which is to be polled until it is open.
    """
    mine = _asked(conn)
    if mine == conn.info.backend_pid or place in _kept:
        return True
    second = _Second(connect_again)
    try:
        for _ in range(ROUNDS):
            if _asked(conn) != mine or second.served_by() == mine:
                return False
            time.sleep(PAUSE_S)
    finally:
        second.close()
    _kept.add(place)
    return True


def _asked(conn: connection) -> int:
    """Who serves a statement that is a transaction of its own."""
    conn.autocommit = True
    try:
        with conn.cursor() as cursor:
            cursor.execute(_WHO)
            return one_row(cursor)[0]
    finally:
        if not conn.closed:
            conn.autocommit = False


class _Second:
    """A second connection, with a short timeout; where it cannot be opened, the first decides alone."""

    def __init__(self, connect: Callable[[], connection]) -> None:
        self._until = time.monotonic() + PATIENCE_S
        self._conn: connection | None = None
        try:
            self._conn = connect()
            self._wait(self._conn)
        except (psycopg2.Error, TimeoutError):
            self.close()

    def served_by(self) -> int | None:
        """Who serves a statement of it; None where nobody did so far."""
        if self._conn is None:
            return None
        try:
            with self._conn.cursor() as cursor:
                cursor.execute(_WHO)
                self._wait(self._conn)
                return one_row(cursor)[0]
        except (psycopg2.Error, TimeoutError):
            self.close()
            return None

    def close(self) -> None:
        """Gives it back."""
        if self._conn is not None:
            self._conn.close()
            self._conn = None

    def _wait(self, conn: connection) -> None:
        while (state := conn.poll()) != POLL_OK:
            left = max(self._until - time.monotonic(), 0)
            readers, writers = ([conn], []) if state == POLL_READ else ([], [conn])
            if not any(select.select(readers, writers, [], left)):
                raise TimeoutError
