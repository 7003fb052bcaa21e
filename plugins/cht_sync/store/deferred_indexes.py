"""The indexes that a first load does without: dropped while the table is empty, built once it is loaded."""

from __future__ import annotations

import logging
from functools import partial

from psycopg2 import sql
from psycopg2.errors import InsufficientPrivilege, LockNotAvailable
from psycopg2.extensions import cursor as Cursor

from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.locks import Locks
from cht_sync.postgres.query import Names, one_row
from cht_sync.postgres.session import PatientSession
from cht_sync.redaction import message_of
from cht_sync.settings.settings import RawTable

# Rows that a table may hold and count as empty: other sources may have been quicker with their first page.
MOST_ROWS = 100_000
DROP_LOCK_TIMEOUT = "1s"
# An index of a table of a hundred million documents takes a quarter of an hour.
BUILD_TIMEOUT = "30min"
_HOLDS_MORE = "select exists (select from {schema}.{table} offset %s)"
# Only what is to the letter as it would be built again: nobody's own index of another kind is touched. That of
# saved_timestamp stays, since each page looks for the last stamp.
_PLAIN = """
select i.relname, a.attname
from pg_class t
join pg_namespace n on n.oid = t.relnamespace
join pg_index x on x.indrelid = t.oid
join pg_class i on i.oid = x.indexrelid
join pg_attribute a on a.attrelid = t.oid and a.attnum = x.indkey[0]
where n.nspname = %(schema)s and t.relname = %(table)s and t.relkind = 'r' and a.attname in ('_deleted', 'source')
    and i.reltablespace = 0 and not x.indisclustered and not x.indisreplident
    and pg_get_indexdef(i.oid)
        = format('CREATE INDEX %%I ON %%I.%%I USING btree (%%I)', i.relname, n.nspname, t.relname, a.attname)
"""
_NOTE = """
insert into {schema}.couchdb_postponed_index (table_name, name, column_name) values (%(table)s, %(name)s, %(column)s)
on conflict (table_name, name) do update
set column_name = excluded.column_name, postponed_at = now(), failed_at = null
"""
# A load that did not move for a day is not waited for.
_DUE = """
select name, column_name from {schema}.couchdb_postponed_index
where table_name = %(table)s and coalesce(failed_at, '-infinity') < now() - interval '1 hour'
    and not exists (
        select from {schema}.couchdb_first_load where finished_at is null and updated_at > now() - interval '1 day'
    )
order by name
"""
# What an interrupted build leaves behind is not valid.
# Source: https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY
_VALID = """
select x.indisvalid
from pg_index x
join pg_class i on i.oid = x.indexrelid
join pg_class t on t.oid = x.indrelid
join pg_namespace n on n.oid = i.relnamespace
where n.nspname = %(schema)s and i.relname = %(name)s and t.relname = %(table)s
"""
_DROP = "drop index concurrently if exists {schema}.{name}"
_CREATE = "create index concurrently {name} on {schema}.{table} ({column})"
_BUILT = "delete from {schema}.couchdb_postponed_index where table_name = %(table)s and name = %(name)s"
_FAILED = """
update {schema}.couchdb_postponed_index set failed_at = now() where table_name = %(table)s and name = %(name)s
"""
log = logging.getLogger(__name__)


class DeferredIndexes:
    """The plain indexes on ``_deleted`` and ``source``, and the table ``couchdb_postponed_index``."""

    def __init__(self, raw: RawTable) -> None:
        self._raw = raw
        self._names = Names(raw.schema, raw.table)

    def _execute(self, cursor: Cursor, text: str, **values: str) -> None:
        """Runs a statement that may use each name as an identifier, and as a value."""
        names = {key: sql.Identifier(value) for key, value in values.items()}
        self._names.execute(cursor, text, {"schema": self._raw.schema, "table": self._raw.table, **values}, **names)

    def defer(self, cursor: Cursor) -> None:
        """Drops them where the table is as good as empty; where somebody reads it or owns it, they stay."""
        cursor.execute("savepoint defer")
        try:
            self._drop(cursor)
        except (LockNotAvailable, InsufficientPrivilege) as error:
            cursor.execute("rollback to savepoint defer")
            log.info("The indexes of %s stay while it is loaded (%s).", self._raw.table, message_of(error))
        cursor.execute("release savepoint defer")

    def _drop(self, cursor: Cursor) -> None:
        if self._holds_more(cursor):
            return
        cursor.execute(
            "select current_setting('lock_timeout'), set_config('lock_timeout', %s, true)", (DROP_LOCK_TIMEOUT,)
        )
        before, _ = one_row(cursor)
        self._execute(cursor, "lock table {schema}.{table} in access exclusive mode")
        cursor.execute("select set_config('lock_timeout', %s, true)", (before,))
        if self._holds_more(cursor):
            return
        self._execute(cursor, _PLAIN)
        for name, column in cursor.fetchall():
            self._execute(cursor, "drop index {schema}.{name}", name=name)
            self._execute(cursor, _NOTE, name=name, column=column)
            log.info("Index %s of %s is built after the load.", name, self._raw.table)

    def _holds_more(self, cursor: Cursor) -> bool:
        return self._names.value(cursor, _HOLDS_MORE, (MOST_ROWS,))

    def build(self, session: PatientSession) -> None:
        """Builds what was deferred, unless a load is under way; nobody who writes has to wait for it.

        Where it fails the documents are copied all the same, and it is tried again an hour later.
        """
        for name, column in session.ask("read couchdb_postponed_index", self._due):
            log.info("Building index %s of %s: minutes for tens of millions of documents.", name, self._raw.table)
            try:
                with session.autocommitted(f"build index {name}", BUILD_TIMEOUT) as cursor:
                    self._build(cursor, name, column)
            except (StoreError, SettingsError) as error:
                log.warning("Index %s could not be built; the next try is in an hour. %s", name, error)
                session.ask("write couchdb_postponed_index", partial(self._execute, text=_FAILED, name=name))

    def _due(self, cursor: Cursor) -> list[tuple[str, str]]:
        self._execute(cursor, _DUE)
        due = cursor.fetchall()
        # Two that build at once would wait for each other; the lock is kept until the session ends.
        name = f"{self._raw.schema}.{self._raw.table} indexes"
        return due if due and Locks(self._raw.schema).take(cursor, name) else []

    def _build(self, cursor: Cursor, name: str, column: str) -> None:
        self._execute(cursor, _VALID, name=name)
        (valid,) = cursor.fetchone() or (None,)
        if valid is False:
            self._execute(cursor, _DROP, name=name)
        if not valid:
            self._execute(cursor, _CREATE, name=name, column=column)
        self._execute(cursor, _BUILT, name=name)
