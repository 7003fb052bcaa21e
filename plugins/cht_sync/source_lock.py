"""The lock that makes a session the one writer of a source."""

from __future__ import annotations

from typing import Any

_TRY = "select pg_try_advisory_lock(hashtextextended(%s, 2))"
# Advisory locks with one 64 bit key show its halves and objsubid 1; other roles do not see since when.
# Source: https://www.postgresql.org/docs/current/view-pg-locks.html
_HOLDER = """
select a.application_name, a.pid,
    coalesce(to_char(a.backend_start at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS "UTC"'), 'unknown')
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and a.pid <> pg_backend_pid()
  and l.database = (select oid from pg_database where datname = current_database())
  and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(%s, 2)
"""


def try_lock(cursor: Any, name: str) -> bool:
    """Takes the lock for as long as the session lasts, if nobody has it.

    :param cursor: of that session.
    :param name: name of the lock.
    """
    cursor.execute(_TRY, (name,))
    return cursor.fetchone()[0]


def holder(cursor: Any, name: str) -> str:
    """Who has the lock, for a sentence.

    :param cursor: of another session.
    :param name: name of the lock.
    """
    cursor.execute(_HOLDER, (name,))
    program, pid, since = cursor.fetchone() or ("a session that has just ended", "unknown", "unknown")
    return f"{program} (Postgres backend {pid}, connected since {since})"
