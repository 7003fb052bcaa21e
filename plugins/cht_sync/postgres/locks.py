"""Locks in tables of ours, which no other role can take."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.query import Names

# Where there is the row, an insert would wait for who changes it.
_MAKE = """
insert into {schema}.{table} (name) select %(name)s
where not exists (select from {schema}.{table} where name = %(name)s)
on conflict do nothing;
"""
_WAIT = "select from {schema}.{table} where name = %(name)s for update"
_LOOK = "select true from {schema}.{table} where name = %(name)s for update skip locked"
# Advisory locks with one 64 bit key show its halves and objsubid 1; other roles do not see since when.
# Source: https://www.postgresql.org/docs/current/view-pg-locks.html
_HOLDER = """
select a.application_name, a.pid,
    coalesce(to_char(a.backend_start at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS "UTC"'), 'unknown')
from {schema}.{table} l
join pg_locks p on p.pid = l.pid and (p.classid::bigint << 32 | p.objid::bigint) = l.sign
join pg_stat_activity a on a.pid = l.pid and a.usename = l.role
where l.name = %(name)s and p.locktype = 'advisory' and p.granted and p.objsubid = 1 and a.pid <> pg_backend_pid()
  and p.database = (select oid from pg_database where datname = current_database())
"""
_TAKE = """
update {schema}.{table} set pid = pg_backend_pid(), sign = %(sign)s, role = session_user
where name = %(name)s and pg_try_advisory_lock(%(sign)s)
"""


@dataclass(frozen=True, slots=True)
class Locks:
    """A table of locks, one row each.

    Everybody who may connect can hold any advisory lock, and see in ``pg_locks`` which ones are held; a row can be
    locked only by who may write it. What a session holds is noted in its row, with the random number of an advisory
    lock that the session keeps as a sign of life: Postgres takes it back when the session ends, and a pooler when it
    hands the session on.
    """

    schema: str
    table: str = "couchdb_lock"

    @property
    def _names(self) -> Names:
        return Names(self.schema, self.table)

    def wait(self, cursor: Cursor, name: str) -> None:
        """Holds a lock until the transaction ends; waits for whoever holds it so."""
        cursor.execute(self.wait_sql(), {"name": name})

    def wait_sql(self) -> sql.Composed:
        """The statements of :meth:`wait`, for who sends more along; they take the parameter ``name``."""
        return self._names.compose(_MAKE + _WAIT)

    def take(self, cursor: Cursor, name: str) -> bool:
        """Takes a lock until the session ends, if nobody has it; the transaction has to be committed."""
        values = {"name": name, "sign": secrets.randbits(63)}
        if not self._names.execute(cursor, _MAKE + _LOOK, values).fetchone():
            return False  # somebody is about to take it
        # Only now: whoever had the row until a moment ago may have taken the lock.
        if self.holder(cursor, name):
            return False
        return self._names.execute(cursor, _TAKE, values).rowcount == 1

    def holder(self, cursor: Cursor, name: str) -> str:
        """Which other session has a lock, for a sentence; empty where none has."""
        # What a transaction has once seen of the sessions it would see again.
        cursor.execute("select pg_stat_clear_snapshot()")
        found = self._names.execute(cursor, _HOLDER, {"name": name}).fetchone()
        return "{} (Postgres backend {}, connected since {})".format(*found) if found else ""
