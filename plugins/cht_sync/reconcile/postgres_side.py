"""What Postgres holds of a source, for comparisons: rows, collisions and quarantine together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg2
from airflow.sdk import Connection

from cht_sync.couchdb.document_ids import storable
from cht_sync.couchdb.structs import Change
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession
from cht_sync.reconcile.difference import ALTERED, MISSING, STALE, WRONGLY_ALIVE, Difference
from cht_sync.reconcile.not_listed import LIST
from cht_sync.settings.settings import RawTable
from cht_sync.store.page_writer import PAGE_TABLE, copy_rows, is_refusal
from cht_sync.store.quarantine import fingerprint, shown
from cht_sync.store.rows import Row, rows_of

T = TypeVar("T")
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
_BESIDE = """
select _id, _deleted, doc->>'_rev' from {schema}.couchdb_collision where _id = any(%(ids)s) and source = %(source)s
"""
_QUARANTINED = """
select key, _rev from {schema}.couchdb_quarantine
where source = %(source)s and resolved_at is null and key = any(%(keys)s)
"""
_ALTERED = """
select p._id from pg_temp.cht_sync_page p join {schema}.{table} s using (_id)
where coalesce(s.source, %(source)s) = %(source)s and s.doc->>'_rev' = p.doc->>'_rev' and s.doc <> p.doc
union all
select p._id from pg_temp.cht_sync_page p join {schema}.couchdb_collision s using (_id)
where s.source = %(source)s and s.doc->>'_rev' = p.doc->>'_rev' and s.doc <> p.doc
"""


@dataclass(frozen=True, slots=True)
class _Held:
    """What is stored of one document."""

    deleted: bool | None = None
    rev: str | None = None


class StoredSide:
    """Compares what CouchDB lists with what Postgres holds of one source; writes nothing but the listing.

    :param connection: Airflow connection of the role that writes the raw tables.
    :param raw: names of schema and table.
    :param source: name of the source.
    """

    def __init__(self, connection: Connection, raw: RawTable, source: str) -> None:
        self._source, self.tombstone_bodies = source, raw.tombstone_bodies
        self.names = Names(raw.schema, raw.table)
        self.session = PatientSession(connection, f"cht_reconcile reads {source}")

    def __enter__(self) -> StoredSide:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.session.close()

    def ask(self, doing: str, question: Callable[[Any], T]) -> T:
        """Runs a transaction that may as well be run twice: it is, while Postgres restarts.

        :param doing: what is done, for the text of errors.
        :param question: gets the cursor.
        :return: what the question returned.
        :raises StoreError: if Postgres fails for a minute.
        """
        return self.session.ask(doing, question)

    def rows(self, doing: str, text: str, values: Any = None) -> list[tuple[Any, ...]]:
        """What a statement gives, asked as in :meth:`ask`.

        :param doing: what is done, for the text of errors.
        :param text: with ``{schema}`` and ``{table}``.
        :param values: its parameters.
        :return: its rows; none where it only writes.
        """

        def question(cursor: Any) -> list[tuple[Any, ...]]:
            self.names.execute(cursor, text, values)
            return cursor.fetchall() if cursor.description else []

        return self.ask(doing, question)

    def differences(self, listed: list[Change], proof: int | None = None) -> list[Difference]:
        """Compares winning revisions and tombstone flags.

        :param listed: what CouchDB says; without a revision where it does not know a document.
        :param proof: number of the full proof whose listing the ids are added to.
        """
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

    def _compare(self, cursor: Any, listed: list[Change], values: dict[str, Any]) -> list[Difference]:
        if values["proof"] is not None:
            self.names.execute(cursor, LIST, values)
        self.names.execute(cursor, _COMPARE, values)
        held = {name: _Held(deleted, rev) for name, deleted, rev in cursor}
        suspects = [each for each in listed if each.id in held or not storable(each.id)]
        if not suspects:
            return []
        held |= self._beside(cursor, list(held))
        quarantined = self._quarantined(cursor, suspects)
        found = [_difference(each, held.get(each.id, _Held()), quarantined.get(each.id, ())) for each in suspects]
        return [each for each in found if each]

    def _beside(self, cursor: Any, ids: list[str]) -> dict[str, _Held]:
        self.names.execute(cursor, _BESIDE, {"ids": ids, "source": self._source})
        return {name: _Held(deleted, rev) for name, deleted, rev in cursor}

    def _quarantined(self, cursor: Any, suspects: list[Change]) -> dict[str, tuple[str | None]]:
        """Revisions of open entries."""
        names = {fingerprint(each.id): each.id for each in suspects}
        keys = [psycopg2.Binary(key) for key in names]
        self.names.execute(cursor, _QUARANTINED, {"source": self._source, "keys": keys})
        return {names[bytes(key)]: (rev,) for key, rev in cursor}

    def sample(self, percent: float) -> list[str]:
        """Some of the ids of documents that are not deleted, by chance.

        :param percent: how many, about, of a hundred.
        """
        values = {"percent": percent, "source": self._source}
        return [name for (name,) in self.rows("take a sample of the documents", _SAMPLE, values)]

    def altered(self, changes: list[Change], *, stubs: bool = False) -> list[Difference]:
        """Compares contents, as ``jsonb`` does, of documents whose revision is the same.

        :param changes: with their documents; what cannot be stored is left out.
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

    def _altered_of_page(self, cursor: Any, rows: list[Row]) -> list[str] | None:
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
        self.names.execute(cursor, _ALTERED, {"source": self._source})
        return [name for (name,) in cursor]


def _difference(change: Change, held: _Held, quarantined: tuple[()] | tuple[str | None]) -> Difference | None:
    if change.rev is None:
        # Not known to CouchDB: nothing or a tombstone is right.
        alive = held.deleted is False or bool(quarantined)
        return Difference(change.id, WRONGLY_ALIVE, None, held.rev) if alive else None
    if quarantined and quarantined[0] in {change.rev, None}:
        return None
    if held.deleted is None:
        return Difference(change.id, MISSING, change.rev, held.rev)
    if held.deleted != change.deleted:
        return Difference(change.id, WRONGLY_ALIVE if change.deleted else MISSING, change.rev, held.rev)
    return Difference(change.id, STALE, change.rev, held.rev) if held.rev != change.rev else None
