"""What Postgres holds of a source, for comparisons: rows, collisions and quarantine together."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import psycopg2
from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.document_ids import storable
from cht_sync.couchdb.structs import Change
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession
from cht_sync.reconcile.difference import ALTERED, MISSING, STALE, WRONGLY_ALIVE, Difference
from cht_sync.settings.settings import RawTable
from cht_sync.store.known_documents import LIVE
from cht_sync.store.page_writer import PAGE_TABLE, copy_rows, is_refusal
from cht_sync.store.quarantine import fingerprint, shown
from cht_sync.store.rows import Row, rows_of

UNLISTED_AT_A_TIME = 10_000
# Ids and revisions alone: what another source owns, or is in quarantine, is looked at where this finds a difference.
_COMPARE = """
with listed as materialized (
    select * from unnest(%(ids)s::varchar[], %(revs)s::varchar[], %(deleted)s::boolean[]) as l (_id, rev, deleted)
)
select l._id, case when coalesce(s.source, %(source)s) = %(source)s then s._deleted end,
    case when coalesce(s.source, %(source)s) = %(source)s then s.doc->>'_rev' end
from listed l left join {schema}.{table} s using (_id)
where (coalesce(s.source, %(source)s), s._deleted, s.doc->>'_rev')
    is distinct from (%(source)s::varchar, l.deleted, l.rev)
"""
# By blocks, without reading the table: rows that lie together were written together, but there are many blocks.
_SAMPLE = """
select _id from {schema}.{table} tablesample system (%(percent)s)
where coalesce(source, %(source)s) = %(source)s and not _deleted
"""
_COLLISIONS = """
select _id, _deleted, doc->>'_rev' from {schema}.couchdb_collision where _id = any(%(ids)s) and source = %(source)s
"""
_QUARANTINED = """
select key, _rev from {schema}.couchdb_quarantine
where source = %(source)s and resolved_at is null and key = any(%(keys)s)
"""
# The full comparison of a source has a number in couchdb_listing, and each _id that CouchDB listed a hash.
NUMBER = "select hashtextextended(%(run)s || ' ' || %(source)s, 3)"
FORGET_LISTING = """
delete from {schema}.couchdb_listing where proof = hashtextextended(%(run)s || ' ' || %(source)s, 3)
"""
PRUNE_LISTING = """
delete from {schema}.couchdb_listing where proof not in (
    select hashtextextended(run || ' ' || source, 3) from {schema}.couchdb_reconciliation
    where part = 'beside' and verdict is null and planned_at > now() - interval '7 days'
)
"""
_LIST = """
insert into {schema}.couchdb_listing (proof, hashes)
select %(proof)s, array_agg(hashtextextended(i, %(proof)s)) from unnest(%(ids)s::varchar[]) i having count(*) > 0
"""
_UNLISTED = """
select known._id from (KNOWN) known
left join (
    select unnest(hashes) as hash from {schema}.couchdb_listing where proof = %(proof)s
) listed on listed.hash = hashtextextended(known._id, %(proof)s)
where listed.hash is null
order by known._id limit %(limit)s
"""
# Postgres takes an array for ten elements, and would look through all of them for each row.
_BY_HASH = "select set_config('statement_timeout', %s, true), set_config('enable_nestloop', 'off', true)"
# One look through a table of a hundred million rows takes longer than a statement may by default.
_LONG = "4h"
_ALTERED = """
select p._id from pg_temp.cht_sync_page p join {schema}.{table} s using (_id)
where coalesce(s.source, %(source)s) = %(source)s and s.doc->>'_rev' = p.doc->>'_rev' and s.doc <> p.doc
union all
select p._id from pg_temp.cht_sync_page p join {schema}.couchdb_collision s using (_id)
where s.source = %(source)s and s.doc->>'_rev' = p.doc->>'_rev' and s.doc <> p.doc
"""


class _Stored(NamedTuple):
    deleted: bool | None = None
    rev: str | None = None


class StoredSide(PatientSession):
    """Compares what CouchDB lists with what Postgres holds of one source; writes nothing but ``couchdb_listing``."""

    def __init__(self, connection: Connection, raw: RawTable, source: str) -> None:
        super().__init__(connection, f"cht_reconcile reads {source}")
        self._source, self.tombstone_bodies = source, raw.tombstone_bodies
        self.names = Names(raw.schema, raw.table)

    def __enter__(self) -> StoredSide:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def rows(self, doing: str, text: str, values: Any = None) -> list[tuple[Any, ...]]:
        """What a statement gives, asked as in :meth:`ask`."""

        def question(cursor: Cursor) -> list[tuple[Any, ...]]:
            return cursor.fetchall() if self.names.execute(cursor, text, values).description else []

        return self.ask(doing, question)

    def differences(self, listed: list[Change], proof: int | None = None) -> list[Difference]:
        """Compares current revisions and deleted flags; without a revision CouchDB does not know a document."""
        plain = [each for each in listed if storable(each.id)]
        values = {
            "source": self._source,
            "ids": [each.id for each in plain],
            # As rows have it, which are stored without U+0000.
            "revs": [None if each.rev is None else shown(each.rev.replace("\0", "")) for each in plain],
            "deleted": [each.deleted for each in plain],
            "proof": proof,
        }
        return self.ask("compare documents", lambda cursor: self._compare(cursor, listed, values))

    def _compare(self, cursor: Cursor, listed: list[Change], values: dict[str, Any]) -> list[Difference]:
        if values["proof"] is not None:
            self.names.execute(cursor, _LIST, values)
        stored = {name: _Stored(*state) for name, *state in self.names.execute(cursor, _COMPARE, values)}
        suspects = [each for each in listed if each.id in stored or not storable(each.id)]
        if not suspects:
            return []
        beside = self.names.execute(cursor, _COLLISIONS, {"ids": list(stored), "source": self._source})
        stored |= {name: _Stored(*state) for name, *state in beside}
        quarantined = self._quarantined(cursor, suspects)
        found = [_difference(each, stored.get(each.id, _Stored()), quarantined.get(each.id, ())) for each in suspects]
        return [each for each in found if each]

    def _quarantined(self, cursor: Cursor, suspects: list[Change]) -> dict[str, tuple[str | None]]:
        """Revisions of open entries."""
        names = {fingerprint(each.id): each.id for each in suspects}
        keys = [psycopg2.Binary(key) for key in names]
        found = self.names.execute(cursor, _QUARANTINED, {"source": self._source, "keys": keys})
        return {names[bytes(key)]: (rev,) for key, rev in found}

    def sample(self, percent: float) -> list[str]:
        """Some of the ids of documents that are not deleted, by chance."""
        values = {"percent": percent, "source": self._source}
        return [name for (name,) in self.rows("take a sample of the documents", _SAMPLE, values)]

    def unlisted(self, proof: int) -> Iterator[list[str]]:
        """Ids of documents that are live in Postgres or in quarantine, and that CouchDB did not list."""
        for known in LIVE:
            text = _UNLISTED.replace("KNOWN", known)
            after: str | None = ""
            while after is not None:
                values = {"source": self._source, "proof": proof, "after": after, "limit": UNLISTED_AT_A_TIME}
                ask = partial(self._unlisted, text, values)
                names = self.ask("look for documents that CouchDB does not list", ask)
                after = names[-1] if len(names) == UNLISTED_AT_A_TIME else None
                if names:
                    yield names

    def _unlisted(self, text: str, values: dict[str, Any], cursor: Cursor) -> list[str]:
        cursor.execute(_BY_HASH, (_LONG,))
        return [name for (name,) in self.names.execute(cursor, text, values)]

    def altered(self, changes: list[Change], *, stubs: bool = False) -> list[Difference]:
        """Compares contents, as ``jsonb`` does, of documents whose revision is the same and which can be stored.

        :param stubs: whether deleted documents are compared with their stubs, so that no document is needed.
        """
        rows, _ = rows_of(
            (change for change in changes if change.has_document or (stubs and change.deleted)),
            tombstone_bodies=not stubs,
        )
        revisions = {row.change.id: row.change.rev for row in rows}
        return [Difference(name, ALTERED, revisions[name], revisions[name]) for name in self._altered(rows)]

    def _altered(self, rows: list[Row]) -> list[str]:
        if not rows:
            return []
        names = self.ask("compare contents", lambda cursor: self._altered_of_page(cursor, rows))
        if names is not None:
            return names
        # One that Postgres cannot hold is in quarantine, or was found by its revision.
        half = len(rows) // 2
        return self._altered(rows[:half]) + self._altered(rows[half:]) if half else []

    def _altered_of_page(self, cursor: Cursor, rows: list[Row]) -> list[str] | None:
        """None where Postgres refuses one of them."""
        cursor.execute(PAGE_TABLE)
        cursor.execute("savepoint cht_sync")
        try:
            copy_rows(cursor, rows)
        except psycopg2.Error as error:
            if not is_refusal(error):
                raise
            cursor.execute("rollback to savepoint cht_sync")
            return None
        return [name for (name,) in self.names.execute(cursor, _ALTERED, {"source": self._source})]


def _difference(change: Change, stored: _Stored, quarantined: tuple[()] | tuple[str | None]) -> Difference | None:
    if change.rev is None:
        # Not known to CouchDB: nothing or a tombstone is right.
        alive = stored.deleted is False or bool(quarantined)
        return Difference(change.id, WRONGLY_ALIVE, None, stored.rev) if alive else None
    if quarantined and quarantined[0] in {change.rev, None}:
        return None
    if stored.deleted is None:
        return Difference(change.id, MISSING, change.rev, stored.rev)
    if stored.deleted != change.deleted:
        return Difference(change.id, WRONGLY_ALIVE if change.deleted else MISSING, change.rev, stored.rev)
    return Difference(change.id, STALE, change.rev, stored.rev) if stored.rev != change.rev else None
