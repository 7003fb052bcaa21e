"""Which sessions keep a reader waiting."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor
from pydantic import BaseModel, Field

from cht_sync.common.text import moment

# Whoever only reads waits for an AccessExclusiveLock, also for one that is itself waited for; of an index, too.
# Source: https://www.postgresql.org/docs/current/explicit-locking.html
_BLOCKERS = """
with recursive read as (
    select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where (n.nspname, c.relname) in (select * from unnest(%(schemas)s::text[], %(tables)s::text[]))
), in_the_way (pid) as (
    select l.pid from pg_locks l
    where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and l.pid <> pg_backend_pid()
        and l.database = (select oid from pg_database where datname = current_database())
        and l.relation in (select oid from read union all
            select indexrelid from pg_index where indrelid in (select oid from read))
    union
    select unnest(pg_blocking_pids(pid)) from in_the_way
)
select a.pid, coalesce(a.application_name, ''), coalesce(a.usename, ''),
    coalesce(a.xact_start, a.backend_start) as since
from in_the_way join pg_stat_activity a using (pid)
order by cardinality(pg_blocking_pids(pid)) > 0, since nulls last, pid limit 5
"""


class Blocker(BaseModel):
    """A session that others wait for."""

    pid: int = Field(description="Of the session, as in pg_stat_activity.")
    application: str
    user: str
    since: datetime | None = Field(default=None, description="Begin of its transaction; null where that is hidden.")

    def __str__(self) -> str:
        since = f", since {moment(self.since)}" if self.since else ""
        return (
            f"{self.application or 'a session without a name'} (pid {self.pid}, user {self.user or 'unknown'}{since})"
        )


def blockers(cursor: Cursor, tables: Iterable[tuple[str, str]]) -> list[Blocker]:
    """The sessions that readers of tables wait for, those that wait for nobody first.

    :param cursor: of a session that sees ``pg_locks``; what it may not see of other roles is left out.
    :param tables: schema and name of each.
    """
    schemas, names = zip(*tables, strict=True)
    cursor.execute(sql.SQL(_BLOCKERS), {"schemas": list(schemas), "tables": list(names)})
    fields = ("pid", "application", "user", "since")
    return [Blocker(**dict(zip(fields, row, strict=True))) for row in cursor.fetchall()]
