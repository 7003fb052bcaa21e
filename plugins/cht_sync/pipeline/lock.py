"""One dbt process at a time on one schema, whoever starts it."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Connection

from cht_sync.lock_watch import FIRST_S, THEN_S
from cht_sync.postgres import connect, explained
from cht_sync.seldom import Seldom

log = logging.getLogger(__name__)

POLL_S = 0.5
# Advisory locks with one 64 bit key show its halves and objsubid 1.
# Source: https://www.postgresql.org/docs/current/view-pg-locks.html
WHO = """
SELECT format('%%s (Postgres backend %%s)', a.application_name, a.pid)
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 AND l.classid = %s AND l.objid = %s
AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@contextmanager
def schema_lock(connection: Connection, schema: str, holder: str) -> Iterator[None]:
    """Holds the right to run dbt on one schema of one database; waits for whoever has it.

    It is a session-level advisory lock: Postgres itself takes it back when the process that holds it dies, and it
    binds every Airflow that uses the database. Waiting ends when Airflow's time limit of the task does.
    Source: https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS

    :param connection: of the role that runs the models; not through a pooler that shares sessions.
    :param schema: schema of the models.
    :param holder: who asks, shown to those who wait.
    :raises SettingsError: if role, password or database are refused.
    :raises StoreError: if the server cannot be reached, or cuts the connection while this waits.
    """
    key = lock_key(schema)
    with closing(connect(connection, f"{holder[:42]} waiting")) as session:
        # Without it the session would stay in a transaction and keep vacuum from its work.
        session.autocommit = True
        with closing(session.cursor()) as cursor:
            with explained(connection, f"wait for dbt on schema {schema!r}"):
                _wait(cursor, key, schema)
                # pg_stat_activity hides times from other roles, but not this name.
                since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
                cursor.execute("SELECT set_config('application_name', %s, false)", (f"{holder[:42]} {since}",))
            yield


def lock_key(schema: str) -> int:
    """The key of a schema's lock; locks of other databases never meet it.

    :param schema: schema of the models.
    """
    digest = hashlib.sha256(f"cht_sync dbt {schema}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _wait(cursor: Any, key: int, schema: str) -> None:
    tell = Seldom(FIRST_S, THEN_S)
    while True:
        # Asking again and again, not pg_advisory_lock(): a signal of Airflow must be able to end the wait.
        cursor.execute("SELECT pg_try_advisory_lock(%s)", (key,))
        if cursor.fetchone()[0]:
            return
        if tell.due():
            cursor.execute(WHO, (key >> 32 & 0xFFFFFFFF, key & 0xFFFFFFFF))
            who = [row[0] for row in cursor.fetchall()]
            log.warning(
                "dbt is running on schema %s already: waiting for %s, for %.0f s now.",
                schema,
                " and ".join(who) or "its end",
                tell.passed,
            )
        time.sleep(POLL_S)
