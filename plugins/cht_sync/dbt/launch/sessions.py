"""The sessions of dbt in Postgres: what they are called, and the end of those whose dbt is gone."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from contextlib import closing

from airflow.sdk import Connection

from cht_sync.postgres.connection import connect, explained
from cht_sync.postgres.query import one_row

log = logging.getLogger(__name__)

POLL_S, PATIENCE_S = 0.2, 30.0
_LONGEST = 40
# Idle ones hold nothing, and may be kept by a pooler for somebody else.
_END = """
select count(*), count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
where application_name = %s and usename = current_user and datname = current_database()
  and pid <> pg_backend_pid() and state is distinct from 'idle'
"""


def session_name(schema: str) -> str:
    """What ``pg_stat_activity`` calls the sessions of dbt that work on a schema, one of another schema otherwise."""
    shown = re.sub(r"[^A-Za-z0-9_-]", "_", schema)[:_LONGEST]
    if shown == schema:
        return f"cht_sync dbt {schema}"
    return f"cht_sync dbt {shown} {hashlib.sha256(schema.encode()).hexdigest()[:8]}"


def end_sessions(connection: Connection, schema: str, patience: float = PATIENCE_S) -> int:
    """Ends what dbt has left at work on a schema: whoever calls has its lock, so nobody waits for it any more.

    :param patience: seconds to wait for the end.
    :return: how many sessions were at work.
    :raises SettingsError: if role, password or database are refused.
    :raises StoreError: if the server cannot be reached.
    """
    most, until = 0, time.monotonic() + patience
    with closing(connect(connection, "cht_sync ends dbt")) as conn, explained(connection, "end what dbt has left"):
        conn.autocommit = True
        with conn.cursor() as cursor:
            while True:
                cursor.execute(_END, (session_name(schema),))
                left, _ = one_row(cursor)
                most = max(most, left)
                if not left:
                    return most
                if time.monotonic() > until:
                    log.warning("%s sessions of dbt on schema %s do not end: see pg_stat_activity.", left, schema)
                    return most
                time.sleep(POLL_S)
