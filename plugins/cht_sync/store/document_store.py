"""The store that speaks SQL: documents and checkpoints in Postgres; it knows nothing of HTTP."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Self, TypeVar

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.common.log_throttle import Seldom
from cht_sync.couchdb.document_ids import storable
from cht_sync.couchdb.structs import Change, Page, Refused
from cht_sync.errors import CheckpointConflictError, StoreError
from cht_sync.postgres.lock_watch import FIRST_S, THEN_S
from cht_sync.postgres.locks import Locks
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import TOLERANCE_S, PatientSession
from cht_sync.settings.settings import RawTable
from cht_sync.store.checkpoints import Checkpoints, SourceState
from cht_sync.store.known_documents import KnownDocuments
from cht_sync.store.migrations import Schema
from cht_sync.store.older_revisions import OlderRevision, OlderRevisions
from cht_sync.store.page_writer import PAGE_TABLE, PageWriter, Written
from cht_sync.store.quarantine import Quarantine
from cht_sync.store.run_ledger import Run, Windows
from cht_sync.store.source_order import SourceOrder

T = TypeVar("T")
log = logging.getLogger(__name__)
# A document that a source was made to give up is no sign of it.
_MAIN_OWNER = """
select s.source, count(*)
from unnest(%(ids)s::varchar[], %(deleted)s::boolean[]) as wanted (_id, deleted) join {schema}.{table} s using (_id)
where s.source = any(%(sources)s) and (wanted.deleted or not s._deleted)
group by 1 order by 2 desc, 1 limit 1
"""
MOMENT_S = 2.0
# What a repair calls itself in pg_stat_activity, and seconds for which a sync waits for repairs at most.
REPAIR, REPAIR_S = "cht_reconcile", 120.0


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
        self._checkpoints, self._known = Checkpoints(self._names), KnownDocuments(self._names)
        self.older = OlderRevisions(self._names)
        self._locks = Locks(raw.schema)
        self._writer = PageWriter(self._names, self._lock_name("order"), raw.tombstone_bodies)
        self._windows = Windows(self._names, run or Run())
        self._claims: set[str] = set()
        self._session = PatientSession(connection, application_name, tolerance, self._claims.clear)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Gives back the connection and with it every claim."""
        self._session.close()

    def _lock_name(self, subject: str) -> str:
        return f"{self._raw.schema}.{self._raw.table} {subject}"

    # --- before the first page -----------------------------------------------------------------

    def prepare(self) -> list[str]:
        """Creates or upgrades the schema.

        :raises SettingsError: if a table of that name is another kind of table or rights are missing.
        """

        def once() -> list[str]:
            with self._session.made_again():
                return Schema(self._session.conn, self._connection, self._raw).prepare()

        return self._session.patiently(once)

    def order_sources(self, sources: list[str]) -> int:
        """Takes over which source has the row where several hold the same ``_id``; needs no claim.

        :param sources: names of those that are copied, the first one first.
        """
        return SourceOrder(self._session, self._names, self._writer).apply(sources)

    def claim(self, source: str, patience: float = MOMENT_S) -> None:
        """Makes this store the one writer of a source until it is closed.

        A repair holds a source for a few seconds only, so that it is always waited for.

        :param patience: seconds to wait for another writer, default a moment.
        :raises CheckpointConflictError: if another writer has it; the text says who and since when.
        """
        tries = itertools.count()
        self._session.patiently(lambda: self._claim(source, next(tries) > 0, patience))

    def _claim(self, source: str, again: bool, patience: float = MOMENT_S) -> None:
        try:
            self._claim_once(source, patience)
        except CheckpointConflictError as error:
            if not again:
                raise
            # It may be our own session of before: Postgres needs a moment to notice that it is gone.
            raise StoreError(str(error), passing=True) from None

    def _claim_once(self, source: str, patience: float) -> None:
        name, begun, tell = self._lock_name(source), time.monotonic(), Seldom(FIRST_S, THEN_S)
        while not self._try_to_claim(source, name):
            # The session of a run that has just ended or was killed may take a moment to be gone.
            waited = time.monotonic() - begun
            if waited > patience and (waited > REPAIR_S or not self._holder(name).startswith(REPAIR)):
                break
            if tell.due():
                log.warning("Waiting for %s, which writes %s, for %.0f s now.", self._holder(name), source, waited)
            time.sleep(0.1)
        else:
            return
        who = self._holder(name)
        raise CheckpointConflictError(
            f"Source {source} is being written by {who}: wait until it ends, or end it with pg_terminate_backend if"
            " nothing of it runs any more."
        )

    def _holder(self, name: str) -> str:
        with self._session.transaction("look for who holds a source") as cursor:
            return self._locks.holder(cursor, name) or "a session that has just ended"

    def _try_to_claim(self, source: str, name: str) -> bool:
        with self._session.transaction("lock a source") as cursor:
            if not self._locks.take(cursor, name):
                return False
            cursor.execute(PAGE_TABLE)
        self._claims.add(source)
        return True

    def state(self, source: str) -> SourceState:
        """Where the feed of a source goes on, and of which database."""
        return self._session.ask("read couchdb_progress", lambda cursor: self._checkpoints.state(cursor, source))

    def checkpoint(self, source: str) -> str | None:
        """Where the feed of a source goes on.

        :return: the opaque seq; None where the source is to be read from the beginning.
        """
        return self.state(source).seq

    def sources(self) -> set[str]:
        """Names of all sources that were ever read."""
        return self._session.ask("read couchdb_progress", self._checkpoints.sources)

    def main_owner(self, changes: list[Change], sources: list[str]) -> tuple[str | None, int]:
        """Which of some sources has most rows of some documents.

        :return: name of the source and number of the rows; None where none has any.
        """
        some = [change for change in changes if storable(change.id)]
        values = {
            "ids": [change.id for change in some],
            "deleted": [change.deleted for change in some],
            "sources": sources,
        }

        def question(cursor: Cursor) -> tuple[str | None, int]:
            self._names.execute(cursor, _MAIN_OWNER, values)
            return cursor.fetchone() or (None, 0)

        return self._session.ask("read the documents", question)

    def has_rows(self, source: str) -> bool:
        """Whether any document of a source is stored and not deleted."""
        return self._session.ask("read the documents", lambda cursor: self._known.has_rows(cursor, source))

    def restart(self, source: str, instance: str | None) -> None:
        """Makes the feed of a source begin at the beginning, and a sweep follow it; rows stay as they are.

        :param instance: ``instance_start_time`` of the database it is read from now; None where there is none.
        """

        def work(cursor: Cursor) -> None:
            self._checkpoints.restart(cursor, source, instance)
            self.older.drop_all(cursor, source)

        self._surely(source, work)

    def known(self, source: str, after: str, limit: int) -> list[tuple[str, str | None]]:
        """Documents of a source that are stored or in quarantine and not deleted, in the order of their ids.

        :param after: ``_id`` of the last one seen; empty at first.
        """
        return self._session.ask("read the documents", lambda cursor: self._known.live(cursor, source, after, limit))

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

    # --- pages ---------------------------------------------------------------------------------

    def save(self, source: str, page: Page, since: str | None, instance: str | None = None) -> Written:
        """Stores a page and moves the checkpoint, both or neither.

        :param page: a page of its feed; documents that Postgres refuses go to quarantine.
        """

        def work(cursor: Cursor) -> Written:
            written = self._writer.write(cursor, source, page.results, page.held, page.checkpoint)
            ledger = self._windows.growth(source, written, page, since, instance)
            self._checkpoints.move(cursor, source, page, since, instance, ledger=ledger)
            return written

        return self._surely(source, work, lambda: since != page.checkpoint == self._look(source).seq)

    def put(
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
            cursor.execute(*self._windows.growth(source, written))
            if note:
                note(cursor, written)
            return written

        return self._surely(source, work)

    def bury(
        self, source: str, tombstones: list[Change], state: SourceState, after: str | None, *, sure: bool = True
    ) -> Written:
        """Stores tombstones that a sweep has found to be missing, and how far it has come.

        :param after: ``_id`` that the sweep has come to; None at its end.
        :param sure: whether that can be relied on; else the documents are only noted, to be looked for again.
        """

        def work(cursor: Cursor) -> Written:
            self._checkpoints.check(cursor, source, state)
            if sure:
                written = self._writer.write(cursor, source, tombstones, [], None, sure=True)
            else:
                written = self._doubt_gone(cursor, source, tombstones)
            cursor.execute(*self._windows.growth(source, written))
            self._checkpoints.swept(cursor, source, after)
            return written

        return self._surely(source, work, lambda: self._look(source) == replace(state, sweep_after=after))

    def doubt_gone(self, source: str, tombstones: list[Change], state: SourceState) -> Written:
        """Notes documents that CouchDB does not know and Postgres holds; their rows stay as they are."""

        def work(cursor: Cursor) -> Written:
            self._checkpoints.check(cursor, source, state)
            return self._doubt_gone(cursor, source, tombstones)

        return self._surely(source, work)

    def _doubt_gone(self, cursor: Cursor, source: str, tombstones: list[Change]) -> Written:
        self.older.doubt_gone(cursor, source, {each.id: each.rev for each in tombstones})
        return Written(older=len(tombstones))

    def older_revisions(self, source: str, limit: int, pause: timedelta) -> list[OlderRevision]:
        """Documents of which CouchDB names an older revision than Postgres holds; they count as looked at.

        :param pause: those that were looked at so recently are left out.
        """
        return self._session.ask(
            "write couchdb_older_revision", lambda cursor: self.older.take(cursor, source, limit, pause)
        )

    def looked(self, source: str, claimed: dict[bytes, str | None]) -> None:
        """Notes what CouchDB named when it was asked again for such documents.

        :param claimed: the revision that it named by key of the document; None where it knows no such document.
        """
        self._session.ask("write couchdb_older_revision", lambda cursor: self.older.looked(cursor, source, claimed))

    def count_older(self, source: str) -> int:
        """How many such documents wait to be looked at again."""
        return self._session.ask("read couchdb_older_revision", lambda cursor: self.older.count(cursor, source))

    def doubt(self, source: str, reason: str) -> None:
        """Notes why a copy may not be complete: the next proof then compares all of it."""
        self._session.ask("write couchdb_progress", lambda cursor: self._checkpoints.doubt(cursor, source, reason))

    def doubts(self) -> dict[str, str]:
        """Why the copy of a source may not be complete, by source."""
        return self._session.ask("read couchdb_progress", self._checkpoints.doubts)

    def go_on_from(self, source: str, since: str, seq: str) -> bool:
        """Sets a checkpoint of which CouchDB has lost what lies behind it to one that the database has."""
        return self._surely(source, lambda cursor: self._checkpoints.go_on_from(cursor, source, since, seq))

    def restamp(self, source: str, ids: list[str]) -> Written:
        """Gives rows a new ``saved_timestamp``, so that models reprocess them; needs no claim: nothing else changes."""

        def work(cursor: Cursor) -> Written:
            written = self._writer.restamp(cursor, source, ids)
            cursor.execute(*self._windows.growth(source, written))
            return written

        return self._session.ask(f"give documents of {source} a new stamp", work)

    def _look(self, source: str) -> SourceState:
        """Asks once: whoever calls is patient already."""
        with self._session.transaction("read couchdb_progress") as cursor:
            return self._checkpoints.state(cursor, source)

    def _surely(self, source: str, work: Callable[[Cursor], T], committed: Callable[[], bool] = lambda: False) -> T:
        """Runs a transaction until it is known to be committed, through restarts and deadlocks.

        :param work: what the transaction does; done anew in each try.
        :param committed: asks whether the commit of an earlier try, whose answer was lost, had come through.
        """
        answer: list[T] = []  # filled while the outcome of a commit is not known

        def once() -> T:
            if source not in self._claims:
                self._claim(source, again=True)
                if answer and committed():
                    return answer[0]
            answer.clear()
            with self._session.transaction(f"store a page of {source}") as cursor:
                answer.append(work(cursor))
            return answer[0]

        return self._session.patiently(once)
