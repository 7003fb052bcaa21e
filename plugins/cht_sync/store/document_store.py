"""The store that speaks SQL: documents and checkpoints in Postgres; it knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Self, TypeVar

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.document_ids import storable
from cht_sync.couchdb.structs import Change, Page, Refused
from cht_sync.postgres.locks import Locks
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import TOLERANCE_S, PatientSession
from cht_sync.settings.settings import RawTable
from cht_sync.store import known_documents
from cht_sync.store.checkpoints import Checkpoints, SourceState
from cht_sync.store.claims import MOMENT_S, SourceClaims
from cht_sync.store.migrations import Schema
from cht_sync.store.older_revisions import OlderRevision, OlderRevisions
from cht_sync.store.page_writer import PageWriter, Written
from cht_sync.store.quarantine import Quarantine
from cht_sync.store.run_ledger import Run, RunLedger
from cht_sync.store.source_order import SourceOrder

T = TypeVar("T")
# A document that a source was made to give up is no sign of it.
_MAIN_OWNER = """
select s.source, count(*)
from unnest(%(ids)s::varchar[], %(deleted)s::boolean[]) as wanted (_id, deleted) join {schema}.{table} s using (_id)
where s.source = any(%(sources)s) and (wanted.deleted or not s._deleted)
group by 1 order by 2 desc, 1 limit 1
"""


class DocumentStore:
    """One table of documents and its checkpoints.

    :param tolerance: seconds for which everything is tried again while Postgres restarts or reports a deadlock, default
        60.
    """

    def __init__(
        self,
        connection: Connection,
        raw: RawTable,
        application_name: str = "cht_sync",
        tolerance: float = TOLERANCE_S,
        run: Run | None = None,
    ) -> None:
        self._connection, self._raw = connection, raw
        self._names = Names(raw.schema, raw.table)
        self._checkpoints, self.older = Checkpoints(self._names), OlderRevisions(self._names)
        self._locks = Locks(raw.schema)
        self._writer = PageWriter(self._names, self._lock_name("order"), raw.tombstone_bodies)
        self._ledger = RunLedger(self._names, run or Run())
        self._claimed: set[str] = set()
        self._session = PatientSession(connection, application_name, tolerance, self._claimed.clear)
        self._claims = SourceClaims(self._session, self._locks, self._lock_name, self._claimed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives back the connection and with it every claim."""
        self._session.close()

    def _lock_name(self, subject: str) -> str:
        return f"{self._raw.schema}.{self._raw.table} {subject}"

    def prepare(self) -> list[str]:
        """Creates or upgrades the schema, see :meth:`cht_sync.store.migrations.Schema.prepare`."""

        def once() -> list[str]:
            with self._session.reconnecting():
                return Schema(self._session.conn, self._connection, self._raw).prepare()

        return self._session.patiently(once)

    def order_sources(self, sources: list[str]) -> int:
        """Applies the order of the sources, which decides who has the row of an ``_id``; needs no claim."""
        return SourceOrder(self._session, self._names, self._writer).apply(sources)

    def claim(self, source: str, patience: float = MOMENT_S) -> None:
        """Makes this store the one writer of a source until it is closed, see :meth:`SourceClaims.claim`."""
        self._claims.claim(source, patience)

    def state(self, source: str) -> SourceState:
        """Where the feed of a source goes on, and of which database."""
        return self._session.ask("read couchdb_progress", lambda cursor: self._checkpoints.state(cursor, source))

    def checkpoint(self, source: str) -> str | None:
        """The opaque seq where the feed of a source goes on; None where it is read from the beginning."""
        return self.state(source).seq

    def sources(self) -> set[str]:
        """Names of all sources that were ever read."""
        return self._session.ask("read couchdb_progress", self._checkpoints.sources)

    def main_owner(self, changes: list[Change], sources: list[str]) -> tuple[str | None, int]:
        """Which of some sources has most rows of some documents, and how many; None where none has any."""
        some = [change for change in changes if storable(change.id)]
        values = {
            "ids": [change.id for change in some],
            "deleted": [change.deleted for change in some],
            "sources": sources,
        }

        found = self._session.ask(
            "read the documents", lambda cursor: self._names.execute(cursor, _MAIN_OWNER, values).fetchone()
        )
        return found or (None, 0)

    def has_rows(self, source: str) -> bool:
        """Whether any document of a source is stored and not deleted."""
        has_rows = known_documents.has_rows
        return self._session.ask("read the documents", lambda cursor: has_rows(cursor, self._names, source))

    def restart(self, source: str, instance: str | None) -> None:
        """Makes the feed of a source begin at the beginning, and a sweep follow it; rows stay as they are."""

        def work(cursor: Cursor) -> None:
            self._checkpoints.restart(cursor, source, instance)
            self.older.drop_all(cursor, source)

        self._until_committed(source, work)

    def live_documents(self, source: str, after: str, limit: int) -> list[tuple[str, str | None]]:
        """Live documents of a source, stored or in quarantine, ordered by ``_id``, behind ``after``: empty at first."""
        live = known_documents.live
        return self._session.ask("read the documents", lambda cursor: live(cursor, self._names, source, after, limit))

    def quarantined(
        self, source: str, after: bytes, limit: int, everything: bool
    ) -> list[tuple[bytes, str, str | None]]:
        """Open entries of the quarantine in the order of their keys.

        :param after: key of the last one seen; empty at first.
        :param everything: all of them, or only those without a body that were not tried for ten minutes.
        :return: key, ``_id`` as it is in the table, and revision of each.
        """
        entries = Quarantine(self._names)
        return self._session.ask(
            "read couchdb_quarantine", lambda cursor: entries.open(cursor, source, after, limit, everything)
        )

    def save(self, source: str, page: Page, since: str | None, instance: str | None = None) -> Written:
        """Stores a page and moves the checkpoint, both or neither."""

        def work(cursor: Cursor) -> Written:
            written = self._writer.write(cursor, source, page.results, page.refused, page.checkpoint)
            ledger = self._ledger.entry(source, written, page, since, instance)
            self._checkpoints.move(cursor, source, page, since, instance, ledger=ledger)
            return written

        return self._until_committed(source, work, lambda: since != page.checkpoint == self._read_state(source).seq)

    def save_documents(
        self,
        source: str,
        changes: list[Change],
        refused: list[Refused],
        state: SourceState,
        note: Callable[[Cursor, Written], None] | None = None,
        *,
        sure: bool = False,
    ) -> Written:
        """Stores documents that were fetched by id; the checkpoint stays where it is.

        :param note: is called with the cursor of the transaction and what was stored, to write what belongs to it.
        :param sure: whether the documents may take rows back to an older revision.
        """

        def work(cursor: Cursor) -> Written:
            self._checkpoints.check(cursor, source, state)
            written = self._writer.write(cursor, source, changes, refused, None, sure=sure)
            cursor.execute(*self._ledger.entry(source, written))
            if note:
                note(cursor, written)
            return written

        return self._until_committed(source, work)

    def save_tombstones(
        self, source: str, tombstones: list[Change], state: SourceState, after: str | None, *, sure: bool = True
    ) -> Written:
        """Stores tombstones that a sweep has found to be missing, and how far it has come.

        :param after: ``_id`` that the sweep has come to; None at its end.
        :param sure: whether that can be relied on; else the documents are only noted, to be checked again.
        """

        def work(cursor: Cursor) -> Written:
            self._checkpoints.check(cursor, source, state)
            if sure:
                written = self._writer.write(cursor, source, tombstones, [], None, sure=True)
            else:
                written = self._note_missing(cursor, source, tombstones)
            cursor.execute(*self._ledger.entry(source, written))
            self._checkpoints.swept(cursor, source, after)
            return written

        swept = replace(state, sweep_after=after)
        return self._until_committed(source, work, lambda: self._read_state(source) == swept)

    def note_missing(self, source: str, tombstones: list[Change], state: SourceState) -> Written:
        """Notes documents that CouchDB does not know and Postgres holds; their rows stay as they are."""

        def work(cursor: Cursor) -> Written:
            self._checkpoints.check(cursor, source, state)
            return self._note_missing(cursor, source, tombstones)

        return self._until_committed(source, work)

    def _note_missing(self, cursor: Cursor, source: str, tombstones: list[Change]) -> Written:
        self.older.note_missing(cursor, source, {each.id: each.rev for each in tombstones})
        return Written(older=len(tombstones))

    def older_revisions(self, source: str, limit: int, pause: timedelta) -> list[OlderRevision]:
        """Documents with an older revision in CouchDB, not checked within ``pause``; they count as checked."""
        return self._session.ask(
            "write couchdb_older_revision", lambda cursor: self.older.take(cursor, source, limit, pause)
        )

    def note_claimed(self, source: str, claimed: dict[bytes, str | None]) -> None:
        """Notes by key the revision that CouchDB named when it was asked again; None where there is no document."""
        self._session.ask(
            "write couchdb_older_revision", lambda cursor: self.older.note_claimed(cursor, source, claimed)
        )

    def count_older(self, source: str) -> int:
        """How many such documents wait to be checked again."""
        return self._session.ask("read couchdb_older_revision", lambda cursor: self.older.count(cursor, source))

    def doubt(self, source: str, reason: str) -> None:
        """Notes why a copy may not be complete: the next run of cht_reconcile then compares all of it."""
        self._session.ask("write couchdb_progress", lambda cursor: self._checkpoints.doubt(cursor, source, reason))

    def doubts(self) -> dict[str, str]:
        """Why the copy of a source may not be complete, by source."""
        return self._session.ask("read couchdb_progress", self._checkpoints.doubts)

    def go_on_from(self, source: str, since: str, seq: str) -> bool:
        """Sets a checkpoint of which CouchDB has lost what lies behind it to one that the database has."""
        return self._until_committed(source, lambda cursor: self._checkpoints.go_on_from(cursor, source, since, seq))

    def restamp(self, source: str, ids: list[str]) -> Written:
        """Gives rows a new ``saved_timestamp``, so that models reprocess them; needs no claim: nothing else changes."""

        def work(cursor: Cursor) -> Written:
            written = self._writer.restamp(cursor, source, ids)
            cursor.execute(*self._ledger.entry(source, written))
            return written

        return self._session.ask(f"give documents of {source} a new stamp", work)

    def _read_state(self, source: str) -> SourceState:
        """Asks once: whoever calls is patient already."""
        with self._session.transaction("read couchdb_progress") as cursor:
            return self._checkpoints.state(cursor, source)

    def _until_committed(
        self, source: str, work: Callable[[Cursor], T], committed: Callable[[], bool] = lambda: False
    ) -> T:
        """Runs a transaction until it is known to be committed, through restarts and deadlocks.

        :param work: what the transaction does; done again in each try.
        :param committed: asks whether the commit of an earlier try, whose answer was lost, had come through.
        """
        answer: list[T] = []  # filled while the outcome of a commit is not known

        def once() -> T:
            if source not in self._claimed:
                self._claims.claim_again(source)
                if answer and committed():
                    return answer[0]
            answer.clear()
            with self._session.transaction(f"store a page of {source}") as cursor:
                answer.append(work(cursor))
            return answer[0]

        return self._session.patiently(once)
