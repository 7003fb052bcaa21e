"""Documents that could not be stored, kept with their bytes and the reason."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import IO, Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.structs import Refused
from cht_sync.postgres.query import Names
from cht_sync.store.json_text import USER_PREFIX, without_password

PART = 8 * MEGABYTE
_ADD = """
insert into {schema}.couchdb_quarantine as q (source, key, _id, _rev, seq, body, body_bytes, sqlstate, reason)
values (%(source)s, %(key)s, %(id)s, %(rev)s, %(seq)s, %(body)s, %(size)s, %(sqlstate)s, %(reason)s)
on conflict (source, key) do update
set _rev = coalesce(excluded._rev, q._rev), seq = coalesce(excluded.seq, q.seq),
    body = case when {keep} then q.body else excluded.body end,
    body_bytes = case when {keep} then q.body_bytes else excluded.body_bytes end,
    sqlstate = excluded.sqlstate, reason = excluded.reason, last_seen = now(), attempts = q.attempts + 1,
    resolved_at = null
returning body_bytes
"""
# Bytes are not given up for an answer without any, save for those of an older revision.
_KEEP = "excluded.body_bytes = 0 and coalesce(excluded._rev, q._rev) is not distinct from q._rev"
_DROP_PARTS = "delete from {schema}.couchdb_quarantine_part where source = %(source)s and key = %(key)s"
_ADD_PART = "insert into {schema}.couchdb_quarantine_part (source, key, part, body) values (%s, %s, %s, %s)"
_RESOLVE = """
update {schema}.couchdb_quarantine set resolved_at = now()
where source = %s and resolved_at is null
  and key in (select sha256(convert_to(_id, 'UTF8')) from pg_temp.cht_sync_page)
"""
_FORGET = """
update {schema}.couchdb_quarantine set body = '', body_bytes = 0
where source = %(source)s and key = any(%(keys)s) and resolved_at is not null and body_bytes > 0
returning key
"""
_FORGET_PARTS = "delete from {schema}.couchdb_quarantine_part where source = %(source)s and key = any(%(keys)s)"
# An entry that nothing was handed out for mends itself once the server recovers; others wait to be asked for.
_OPEN = """
select key, _id, _rev from {schema}.couchdb_quarantine
where source = %(source)s and resolved_at is null and key > %(after)s
  and (%(all)s or (
      body_bytes = 0 and left(_id, 17) <> 'org.couchdb.user:' and last_seen < now() - interval '10 minutes'
  ))
order by key limit %(limit)s
"""
# Entries of documents that are stored as tombstones: closed ones, and what could not be stored of just that tombstone.
_OF_TOMBSTONES = """
select q.source, q.key from {schema}.couchdb_quarantine q
cross join lateral (
    select _deleted, doc from {schema}.{table} s where s._id = q._id and s.source = q.source
    union all select _deleted, doc from {schema}.couchdb_collision c where c.key = q.key and c.source = q.source
) stored
where q.body_bytes > 0 and q.key = sha256(convert_to(q._id, 'UTF8')) and stored._deleted
    and (q.resolved_at is not null or q._rev is not distinct from stored.doc->>'_rev')
    and (q.source, q.key) > (%s, %s)
order by q.source, q.key limit %s
"""
_EMPTY = """
update {schema}.couchdb_quarantine set body = '', body_bytes = 0, resolved_at = coalesce(resolved_at, now())
where source = %(source)s and key = %(key)s returning body_bytes = 0
"""
_WITHOUT_TOMBSTONE = """
select source, key from {schema}.couchdb_quarantine q
where body_bytes > 0 and (source, key) > (%s, %s)
    and not exists (select from {schema}.{table} s where s._id = q._id and s.source = q.source and s._deleted)
    and not exists (
        select from {schema}.couchdb_collision c where c.key = q.key and c.source = q.source and c._deleted
    )
order by source, key limit %s
"""
_READ = """
select attempts, body || coalesce((
    select string_agg(p.body, '' order by part) from {schema}.couchdb_quarantine_part p
    where (p.source, p.key) = (q.source, q.key)
), '') from {schema}.couchdb_quarantine q where source = %(source)s and key = %(key)s
"""
_REPLACE = """
update {schema}.couchdb_quarantine set body = %(body)s, body_bytes = %(size)s
where source = %(source)s and key = %(key)s and attempts = %(attempts)s
returning body_bytes
"""
_IS_SAME = """
select count(*) from {schema}.couchdb_quarantine
where source = %(source)s and key = %(key)s and attempts = %(attempts)s
"""
_RESOLVE_OF = """
update {schema}.couchdb_quarantine q set resolved_at = now()
where q.source = %(loser)s and q.resolved_at is null and q.key = sha256(convert_to(q._id, 'UTF8')) and (
    exists (select from {schema}.{table} t where t._id = q._id and t.source = %(winner)s)
    or exists (select from {schema}.couchdb_collision c where c.key = q.key and c.source = %(winner)s)
)
"""
Entry = tuple[str, bytes]


class Quarantine:
    """The table ``couchdb_quarantine``."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def add(self, cursor: Cursor, source: str, refused: Refused, seq: str | None) -> None:
        """Notes the newest state of a refused document, without a body that may hold password material."""
        change = refused.change
        kept, reason = _body_to_keep(refused)
        body = io.BytesIO(kept) if isinstance(kept, bytes) else kept
        body.seek(0, io.SEEK_END)
        size, parts = body.tell(), _parts(body)
        fields = {
            "source": source,
            "key": fingerprint(change.id),
            "id": shown(change.id),
            "rev": None if change.rev is None else shown(change.rev),
            "seq": seq,
            "body": psycopg2.Binary(next(parts)),
            "size": size,
            "sqlstate": refused.sqlstate,
            "reason": shown(reason)[:2000],
        }
        if self._names.value(cursor, _ADD, fields, keep=sql.SQL(_KEEP)) != size:
            return
        self._names.execute(cursor, _DROP_PARTS, fields)
        for number, part in enumerate(parts, start=2):
            self._names.execute(cursor, _ADD_PART, (source, fields["key"], number, psycopg2.Binary(part)))

    def resolve(self, cursor: Cursor, source: str) -> int:
        """Closes the entries of the documents that the page table holds, for they have just been stored."""
        return self._names.execute(cursor, _RESOLVE, (source,)).rowcount

    def forget(self, cursor: Cursor, source: str, documents: list[str]) -> None:
        """Gives up the bytes of entries that are closed, for the documents have been deleted."""
        if not documents:
            return
        keys = [psycopg2.Binary(fingerprint(each)) for each in documents]
        emptied = self._names.execute(cursor, _FORGET, {"source": source, "keys": keys})
        if forgotten := [psycopg2.Binary(bytes(key)) for (key,) in emptied]:
            self._names.execute(cursor, _FORGET_PARTS, {"source": source, "keys": forgotten})

    def open(
        self, cursor: Cursor, source: str, after: bytes, limit: int, everything: bool
    ) -> list[tuple[bytes, str, str | None]]:
        """Open entries in the order of their keys."""
        values = {"source": source, "after": after, "limit": limit, "all": everything}
        return [(bytes(key), text, rev) for key, text, rev in self._names.execute(cursor, _OPEN, values)]

    def of_tombstones(self, cursor: Cursor, after: Entry, limit: int | None) -> list[Entry]:
        """Entries with bytes of documents that are stored as deleted, closed ones too."""
        return self._entries(cursor, _OF_TOMBSTONES, after, limit)

    def without_tombstone(self, cursor: Cursor, after: Entry, limit: int) -> list[Entry]:
        """Other entries with bytes; some may be of deleted documents that cannot be stored at all."""
        return self._entries(cursor, _WITHOUT_TOMBSTONE, after, limit)

    def _entries(self, cursor: Cursor, text: str, after: Entry, limit: int | None) -> list[Entry]:
        return [(source, bytes(key)) for source, key in self._names.execute(cursor, text, (*after, limit))]

    def empty(self, cursor: Cursor, entry: Entry) -> bool:
        """Gives up the bytes of an entry and closes it."""
        emptied = self._names.execute(cursor, _EMPTY, _named(entry)).fetchall() == [(True,)]
        self._names.execute(cursor, _DROP_PARTS, _named(entry))
        return emptied

    def read(self, cursor: Cursor, entry: Entry) -> tuple[int, bytes] | None:
        """How often a document came, and its bytes; None where there is no entry."""
        row = self._names.execute(cursor, _READ, _named(entry)).fetchone()
        return row and (row[0], bytes(row[1]))

    def replace(self, cursor: Cursor, entry: Entry, attempts: int, body: bytes) -> bool | None:
        """Puts other bytes in the place of an entry's.

        :param attempts: how often the document had come when the entry was read.
        :return: whether they are there now; None where the document came again since, so that they are not wanted.
        """
        values = {**_named(entry), "attempts": attempts, "body": psycopg2.Binary(body), "size": len(body)}
        if self._names.execute(cursor, _REPLACE, values).fetchall() == [(len(body),)]:
            self._names.execute(cursor, _DROP_PARTS, values)
            return True
        return False if self._names.value(cursor, _IS_SAME, values) else None

    def resolve_of(self, cursor: Cursor, loser: str, winner: str) -> None:
        """Closes the entries of a source whose documents another source has stored, for the two become one."""
        self._names.execute(cursor, _RESOLVE_OF, {"loser": loser, "winner": winner})


def _named(entry: Entry) -> dict[str, Any]:
    return {"source": entry[0], "key": psycopg2.Binary(entry[1])}


def fingerprint(document: str) -> bytes:
    """SHA-256 of an ``_id``, lone surrogates included."""
    return hashlib.sha256(document.encode("utf-8", "surrogatepass")).digest()


def shown(text: str) -> str:
    """A text as Postgres can hold it: what it cannot is written as in JSON."""
    if not any(map(_is_odd, text)):
        return text
    return "".join(f"\\u{ord(each):04x}" if _is_odd(each) else each.replace("\\", "\\\\") for each in text)


def _is_odd(character: str) -> bool:
    return character == "\0" or "\ud800" <= character <= "\udfff"


def _body_to_keep(refused: Refused) -> tuple[bytes | IO[bytes], str]:
    if not refused.change.id.startswith(USER_PREFIX) or not refused.body:
        return refused.body, refused.reason
    try:
        if isinstance(refused.body, bytes):
            return without_password(refused.body), refused.reason
    except ValueError:
        pass
    return b"", f"{refused.reason} Its body is not kept, because its password material cannot be told apart."


def _parts(body: IO[bytes]) -> Iterator[bytes]:
    """At least one part, maybe empty."""
    body.seek(0)
    yield body.read(PART)
    while part := body.read(PART):
        yield part
