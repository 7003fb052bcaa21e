"""The store that speaks SQL: documents and checkpoints in Postgres; it knows nothing of HTTP."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from airflow.sdk import Connection
from psycopg2 import sql

from cht_sync.errors import CheckpointConflictError, StoreError
from cht_sync.json_text import USER_PREFIX, without_nul, without_password
from cht_sync.page import Change, Page
from cht_sync.postgres import connect, explained
from cht_sync.schema import Schema
from cht_sync.settings import RawTable

# Binary COPY takes each body as it is, with nothing to escape.
# Source: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = struct.pack(">h", -1)
_ID_FIELD = struct.Struct(">hi")
_FLAG_AND_DOC = struct.Struct(">ibiB")
_JSONB_VERSION = 1
_LARGEST_INTEGER = 2**31 - 1

_PAGE_TABLE = (
    "create temporary table if not exists cht_sync_page"
    " (_id varchar, _deleted boolean, doc jsonb) on commit delete rows"
)
_COPY = "copy pg_temp.cht_sync_page (_id, _deleted, doc) from stdin (format binary)"
# Held until the commit is visible: so no stamp becomes visible after a later one, whatever the source.
_ORDER = "select pg_advisory_xact_lock(hashtextextended(%s, 1))"
_STAMP = (
    "select greatest(clock_timestamp() at time zone 'utc', max(saved_timestamp) + interval '1 microsecond')"
    " from {schema}.{table}"
)
_UPSERT = """
insert into {schema}.{table} as stored (saved_timestamp, _id, _deleted, source, doc)
select %(stamp)s, _id, _deleted, %(source)s, doc from pg_temp.cht_sync_page
on conflict (_id) do update
set saved_timestamp = excluded.saved_timestamp, _deleted = excluded._deleted,
    source = excluded.source, doc = excluded.doc
where (stored._deleted, stored.source, stored.doc) is distinct from (excluded._deleted, excluded.source, excluded.doc)
"""
_FIRST_CHECKPOINT = """
insert into {schema}.couchdb_progress as stored (source, seq, pending, updated_at)
values (%(source)s, %(seq)s, %(pending)s, now())
on conflict (source) do update set seq = excluded.seq, pending = excluded.pending, updated_at = excluded.updated_at
where stored.seq is null
"""
_NEXT_CHECKPOINT = """
update {schema}.couchdb_progress set seq = %(seq)s, pending = %(pending)s, updated_at = now()
where source = %(source)s and seq = %(since)s
"""
_HOLDER = """
select a.application_name, a.pid, to_char(a.backend_start at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS "UTC"')
from pg_locks l join pg_stat_activity a using (pid)
where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and a.pid <> pg_backend_pid()
  and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(%s, 2)
"""


@dataclass(frozen=True, slots=True)
class Saved:
    """What one page did: changes in it, tombstones among them, rows that differ now, and their stamp."""

    documents: int
    tombstones: int
    rows: int
    stamp: datetime | None


class DocumentStore:
    """One table of documents and its checkpoints.

    :param connection: Airflow connection of the role that writes.
    :param raw: names of schema and table.
    :param application_name: what ``pg_stat_activity`` shows, default ``cht_sync``.
    """

    def __init__(self, connection: Connection, raw: RawTable, application_name: str = "cht_sync") -> None:
        self._connection, self._raw, self._application_name = connection, raw, application_name
        self._names = {"schema": sql.Identifier(raw.schema), "table": sql.Identifier(raw.table)}
        self._open: Any = None

    def __enter__(self) -> DocumentStore:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives back the connection and with it every claim."""
        if self._open is not None:
            self._open.close()
            self._open = None

    @property
    def _conn(self) -> Any:
        if self._open is None:
            self._open = connect(self._connection, self._application_name)
        return self._open

    def _sql(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(**self._names)

    def _lock_name(self, subject: str) -> str:
        return f"{self._raw.schema}.{self._raw.table} {subject}"

    # --- before the first page -----------------------------------------------------------------

    def prepare(self) -> list[str]:
        """Creates or upgrades the schema.

        :return: names of the migrations that were applied.
        :raises SettingsError: if a table of that name is another kind of table or rights are missing.
        """
        return Schema(self._conn, self._connection, self._raw).prepare()

    def claim(self, source: str) -> None:
        """Makes this store the one writer of a source until it is closed.

        :param source: name of the source.
        :raises CheckpointConflictError: if another writer has it; the text says who and since when.
        """
        name = self._lock_name(source)
        with explained(self._connection, "lock a source"), self._conn, self._conn.cursor() as cursor:
            cursor.execute("select pg_try_advisory_lock(hashtextextended(%s, 2))", (name,))
            if cursor.fetchone()[0]:
                cursor.execute(_PAGE_TABLE)
                return
            cursor.execute(_HOLDER, (name,))
            holder, pid, since = cursor.fetchone() or ("a session that has just ended", "unknown", "unknown")
        raise CheckpointConflictError(
            f"Source {source} is being written by {holder} (Postgres backend {pid}, connected since {since}):"
            " wait until it ends, or end it with pg_terminate_backend if nothing of it runs any more."
        )

    def checkpoint(self, source: str) -> str | None:
        """Where the feed of a source goes on.

        :param source: name of the source.
        :return: the opaque seq; None where the source was never read.
        """
        with explained(self._connection, "read couchdb_progress"), self._conn, self._conn.cursor() as cursor:
            cursor.execute(self._sql("select seq from {schema}.couchdb_progress where source = %s"), (source,))
            row = cursor.fetchone()
        return row[0] if row else None

    # --- pages ---------------------------------------------------------------------------------

    def save(self, source: str, page: Page, since: str | None) -> Saved:
        """Stores a page and moves the checkpoint, both or neither.

        :param source: name of the source.
        :param page: a page whose rows all have a document.
        :param since: the checkpoint that the page was read from.
        :return: what was stored.
        :raises CheckpointConflictError: if the checkpoint is not ``since`` any more; nothing was stored.
        :raises StoreError: if Postgres refused the page; nothing was stored.
        """
        rows = _rows(page)
        stamp, written = None, 0
        with explained(self._connection, f"store a page of {source}"), self._conn, self._conn.cursor() as cursor:
            if rows:
                cursor.copy_expert(_COPY, _copy_stream(rows))
                cursor.execute(_ORDER, (self._lock_name("order"),))
                cursor.execute(self._sql(_STAMP))
                stamp = cursor.fetchone()[0]
                cursor.execute(self._sql(_UPSERT), {"stamp": stamp, "source": source})
                written = cursor.rowcount
            self._move_checkpoint(cursor, source, page, since)
        return Saved(len(rows), sum(deleted for deleted, _ in rows.values()), written, stamp if written else None)

    def _move_checkpoint(self, cursor: Any, source: str, page: Page, since: str | None) -> None:
        pending = 0 if page.is_last else page.pending
        cursor.execute(
            self._sql(_FIRST_CHECKPOINT if since is None else _NEXT_CHECKPOINT),
            {
                "source": source,
                "since": since,
                "seq": page.checkpoint,
                "pending": None if pending is None else min(pending, _LARGEST_INTEGER),
            },
        )
        if cursor.rowcount != 1:
            raise CheckpointConflictError(
                f"The checkpoint of {source} was moved by another writer while a page was on its way; the page"
                " was not stored. Stop the other writer (an old couch2pg, another Airflow) and run again."
            )


def _rows(page: Page) -> dict[bytes, tuple[bool, bytes]]:
    """Tombstone flag and JSON text by id; a feed may deliver a document twice, then the later row counts."""
    rows = {}
    for change in page.results:
        if not change.has_document and not change.deleted:
            raise StoreError(f"A change of document {change.id!r} came without its body; nothing was stored.")
        body = bytes(change.doc) if change.has_document else _stub(change)
        if change.id.startswith(USER_PREFIX):
            body = without_password(body)
        rows[change.id.replace("\0", "").encode()] = (change.deleted, without_nul(body))
    return rows


def _stub(change: Change) -> bytes:
    """What CouchDB returns for a tombstone without fields of its own."""
    revision = change.changes[0].rev if change.changes else None
    return msgspec.json.encode({"_id": change.id, "_rev": revision, "_deleted": True})


def _copy_stream(rows: dict[bytes, tuple[bool, bytes]]) -> io.BytesIO:
    parts = [_COPY_HEADER]
    for key, (deleted, body) in rows.items():
        parts += (
            _ID_FIELD.pack(3, len(key)),
            key,
            _FLAG_AND_DOC.pack(1, deleted, len(body) + 1, _JSONB_VERSION),
            body,
        )
    parts.append(_COPY_END)
    return io.BytesIO(b"".join(parts))
