"""The store of a source that may be loaded for the first time."""

from __future__ import annotations

import json

import msgspec
from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.document_ids import storable
from cht_sync.couchdb.structs import Change, Page
from cht_sync.store import known_documents
from cht_sync.store.checkpoints import SourceState
from cht_sync.store.deferred_indexes import DeferredIndexes
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.first_load_plan import LoadPart, LoadParts, LoadPlan
from cht_sync.store.page_writer import Written


class FirstLoadStore(DocumentStore):
    """A :class:`DocumentStore` that stores pages by ranges of ids, each with how far its part has come."""

    def load_plan(self, source: str) -> LoadPlan | None:
        """The first load of a source that is under way."""
        return self._session.ask("read couchdb_first_load", self._parts(source).unfinished)

    def begin_load(self, source: str, plan: LoadPlan) -> None:
        """Notes a first load that begins; the indexes of an empty table are deferred."""

        def work(cursor: Cursor) -> None:
            self._parts(source).plan(cursor, plan)
            DeferredIndexes(self._raw).defer(cursor)

        self._until_committed(source, work)

    def add_part(self, source: str, plan: LoadPlan, part: LoadPart) -> None:
        """Notes one part more."""
        self._until_committed(source, lambda cursor: self._parts(source).add(cursor, plan, part))

    def absent(self, source: str, changes: list[Change]) -> list[Change]:
        """Those of some documents that are stored nowhere: no row, no collision, no quarantine."""
        names = [change.id for change in changes if storable(change.id)]
        among = known_documents.among
        known = self._session.ask("read the documents", lambda cursor: among(cursor, self._names, source, names))
        return [change for change in changes if change.id not in known]

    def save_part(self, source: str, page: Page, before: LoadPart, after: LoadPart, state: SourceState) -> Written:
        """Stores a page of a part and how far the part has come, both or neither."""

        def work(cursor: Cursor) -> Written:
            self._checkpoints.check(cursor, source, state)
            written = self._writer.write(cursor, source, page.results, page.refused, None, expect_new=True)
            cursor.execute(*self._ledger.entry(source, written, size=page.size))
            self._parts(source).advance(cursor, before, after)
            return written

        return self._until_committed(source, work)

    def end_load(self, source: str, plan: LoadPlan) -> None:
        """Sets the checkpoint to where the feed stood before the load, of which all parts are done."""
        # That something is pending is all that is known until the feed is asked.
        page = Page([], msgspec.Raw(json.dumps(plan.seq).encode()), pending=1)

        def work(cursor: Cursor) -> None:
            ledger = self._ledger.entry(source, Written(), page, None, plan.instance)
            self._checkpoints.move(cursor, source, page, None, plan.instance, ledger=ledger)
            self._parts(source).finish(cursor)

        self._until_committed(source, work, lambda: self._read_state(source).seq == plan.seq)

    def give_up_load(self, source: str) -> None:
        """Forgets a first load, so that the feed is read from its beginning; what is stored stays."""
        self._until_committed(source, self._parts(source).forget)

    def build_indexes(self) -> None:
        """Builds indexes that a load has deferred, be it another one that was given up."""
        DeferredIndexes(self._raw).build(self._session)

    def unproven_load(self, source: str) -> str | None:
        """When the load began that has ended, but was not compared to its end."""
        return self._session.ask("read couchdb_first_load", self._parts(source).unproven)

    def load_is_proven(self, source: str) -> None:
        """Notes that the comparison after a load has ended."""
        self._session.ask("write couchdb_first_load", self._parts(source).proven)

    def _parts(self, source: str) -> LoadParts:
        return LoadParts(self._names, source)
