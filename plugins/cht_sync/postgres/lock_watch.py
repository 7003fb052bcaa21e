"""Says which session holds the lock that a statement of ours waits for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from typing import Any

from airflow.sdk import Connection

from cht_sync.common.log_throttle import Seldom
from cht_sync.postgres.connection import Session, connect

log = logging.getLogger(__name__)
FIRST_S, THEN_S, LOOK_S = 10.0, 30.0, 10.0
APPLICATION = "cht_sync looks for locks"
# Other roles' times are hidden from whoever is neither superuser nor of pg_read_all_stats; names and numbers are not.
# Source: https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-ACTIVITY-VIEW
_BLOCKERS = """
select distinct format('%%s (%%sPostgres backend %%s, %%s)',
    coalesce(nullif(a.application_name, ''), 'a session without a name'),
    coalesce('role ' || a.usename || ', ', ''), blocker,
    coalesce(
        'in a transaction since ' || to_char(a.xact_start at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
        'connected since ' || to_char(a.backend_start at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS "UTC"'),
        'since when is not shown'))
from ({waiting}) as waiting (pid)
cross join lateral unnest(pg_blocking_pids(waiting.pid)) as blocker
left join pg_stat_activity a on a.pid = blocker
"""
_OF_BACKEND = "select %s::integer"
_OF_NAME = """select pid from pg_stat_activity
    where application_name = %s and usename = current_user and datname = current_database()
      and wait_event_type = 'Lock'"""


class LockWatch:
    """Logs who holds the lock that a session waits for: first after ten seconds, then ever more rarely."""

    def __init__(self, connection: Connection, doing: str) -> None:
        self._connection, self._doing = connection, doing
        self.blockers = ""
        self._done = threading.Event()

    def of_backend(self, conn: Session) -> AbstractContextManager[None]:
        """Watches a session while a block of code runs."""
        return self._watched(_OF_BACKEND, conn.served_by)

    def of_program(self, application_name: str) -> AbstractContextManager[None]:
        """Watches the sessions of another program of the same role while a block of code runs."""
        return self._watched(_OF_NAME, application_name)

    @contextmanager
    def _watched(self, waiting: str, value: Any) -> Iterator[None]:
        # Airflow's connection is asked for nothing here: a thread may not.
        thread = threading.Thread(target=self._look_on, args=(_BLOCKERS.format(waiting=waiting), value), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._done.set()

    def _look_on(self, query: str, value: Any) -> None:
        waits, pause = None, FIRST_S
        while not self._done.wait(pause):
            pause = LOOK_S
            found = self._look(query, value)
            if self._done.is_set():
                return
            self.blockers = found
            waits = (waits or Seldom(0.0, THEN_S)) if found else None
            if waits and waits.due():
                text = "Waiting for a lock, to %s, for %.0f s or more: it is held by %s."
                log.warning(text, self._doing, waits.passed + FIRST_S, found)

    def _look(self, query: str, value: Any) -> str:
        try:
            with closing(connect(self._connection, APPLICATION)) as conn, conn, conn.cursor() as cursor:
                cursor.execute(query, (value,))
                return " and ".join(text for (text,) in cursor)
        except Exception as error:
            log.debug("Who holds a lock could not be found out (%s).", type(error).__name__)
            return ""
