"""One dbt process at a time on one schema, whoever starts it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any

from psycopg2.errors import InsufficientPrivilege, UndefinedTable

from cht_sync.common.log_throttle import Seldom
from cht_sync.dbt.tables.deployments import Deployments, dbt_locks
from cht_sync.postgres.connection import connect, explained
from cht_sync.postgres.lock_watch import FIRST_S, THEN_S
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)

POLL_S = 0.5


@contextmanager
def schema_lock(settings: Settings, schema: str, holder: str) -> Iterator[None]:
    """Holds the right to run dbt on one schema of one database; waits for whoever has it.

    It is a lock of a session: Postgres itself takes it back when the process that holds it dies, and it binds every
    Airflow that uses the database. Waiting ends when Airflow's time limit of the task does.

    :param settings: the environment; its role that runs the models must not connect through a pooler that shares
        sessions.
    :param schema: schema of the models.
    :param holder: who asks, shown to those who wait.
    :raises SettingsError: if role, password, database or a right are refused.
    :raises StoreError: if the server cannot be reached, or cuts the connection while this waits.
    """
    connection = dbt_connection(settings)
    with closing(connect(connection, f"{holder[:42]} waiting")) as session:
        # Without it the session would stay in a transaction and keep vacuum from its work.
        session.autocommit = True
        with closing(session.cursor()) as cursor:
            with explained(connection, f"wait for dbt on schema {schema!r}"):
                _wait(session, settings, schema)
                # pg_stat_activity hides times from other roles, but not this name.
                since = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
                cursor.execute("select set_config('application_name', %s, false)", (f"{holder[:42]} {since}",))
            yield


def _wait(session: Any, settings: Settings, schema: str) -> None:
    tell = Seldom(FIRST_S, THEN_S)
    # Asking again and again: a signal of Airflow must be able to end the wait.
    while not _take(session, settings, schema):
        if tell.due():
            with session, session.cursor() as cursor:
                who = dbt_locks(settings).holder(cursor, schema)
            log.warning(
                "dbt is running on schema %s already: waiting for %s, for %.0f s now.",
                schema,
                who or "its end",
                tell.passed,
            )
        time.sleep(POLL_S)


def _take(session: Any, settings: Settings, schema: str) -> bool:
    try:
        with session, session.cursor() as cursor:
            return dbt_locks(settings).take(cursor, schema)
    except (UndefinedTable, InsufficientPrivilege):
        # Whoever runs dbt may be the first to want the table, or its role may have no right to it yet.
        Deployments(settings).prepare()
    with session, session.cursor() as cursor:
        return dbt_locks(settings).take(cursor, schema)
