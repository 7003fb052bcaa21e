"""Stores again what a comparison found to be different; never over a newer state that a sync has stored meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.structs import Change, Refused, Revision
from cht_sync.errors import CheckpointConflictError
from cht_sync.reconcile.comparison import Comparison, batched
from cht_sync.reconcile.difference import Difference, Found

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from cht_sync.store.checkpoints import SourceState
    from cht_sync.store.document_store import DocumentStore
    from cht_sync.store.page_writer import Written

AT_A_TIME = 500
AT_ONCE = 50
# A sync every minute waits for the source meanwhile.
LONGEST_CLAIM_S = 5.0
PAUSE_S = 0.5
TRIES = 3
OLDER = (
    "CouchDB names older revisions than PostgreSQL holds, or none: these documents wait in couchdb_older_revision for"
    " cht_sync to look again."
)
log = logging.getLogger(__name__)


class Repair:
    """Repairs one source in small steps, between which a sync can have it.

    The comparison goes on for hours without a claim, beside a sync every minute. For each step the source is claimed
    and both sides are read again: what is different then, and is not brought by the feed either, is stored.

    :param patience: seconds to wait for a sync to give the source back.
    :param note: is called in the transaction of each repair with its cursor and the number of repaired documents.
    :param one_copy: whether the server keeps each document once, so that its word on what is not there counts.
    """

    def __init__(
        self,
        comparison: Comparison,
        source: str,
        open_store: Callable[[], AbstractContextManager[DocumentStore]],
        *,
        patience: float,
        note: Callable[[Cursor, int], None],
        one_copy: bool,
    ) -> None:
        self._comparison, self._source, self._open_store = comparison, source, open_store
        self._patience, self._note, self._one_copy = patience, note, one_copy

    def run(self, differences: list[Difference], found: Found) -> None:
        """Repairs what is still different."""
        left = {each.id: each for each in differences}
        failed, why = 0, ""
        while left and failed < TRIES:
            some = [left[name] for name in list(left)[:AT_A_TIME]]
            try:
                done = self._step(some, found)
            except CheckpointConflictError as error:
                failed, why = failed + 1, str(error)
                continue
            failed = 0
            for name in done:
                del left[name]
            time.sleep(PAUSE_S if left else 0)
        if left:
            found.doubt(len(left), why)

    def _step(self, some: list[Difference], found: Found) -> list[str]:
        """Repairs as many as a short claim allows, and names them and those that need no repair."""
        with self._open_store() as store:
            store.claim(self._source, self._patience)
            begun, state = time.monotonic(), store.state(self._source)
            doubts = found.doubtful
            still = self._comparison.without_pending(
                self._comparison.compare_ids([each.id for each in some], found), state.seq, found
            )
            waits = {each.id for each in still}
            done = [each.id for each in some if each.id not in waits]
            if found.doubtful > doubts:
                log.warning("%s: CouchDB does not say of %d documents whether they exist.", self._source, len(done))
            for batch in batched(still, AT_ONCE):
                self._store(store, batch, state, found)
                done += [each.id for each in batch]
                if time.monotonic() - begun > LONGEST_CLAIM_S:
                    break
        return done

    def _store(self, store: DocumentStore, batch: list[Difference], state: SourceState, found: Found) -> None:
        """Fetches and stores some documents; each may be large, then fewer at once."""
        try:
            changes, refused = self._fetch(batch)
        except PageTooLargeError:
            half = len(batch) // 2
            for some in (batch[:half], batch[half:]):
                self._store(store, some, state, found)
            return
        gone = [each for each in changes if each.id in {one.id for one in batch if one.rev is None}]
        if gone and not self._one_copy:
            # Of a cluster no single answer tells that a document is not there.
            store.note_missing(self._source, gone, state)
            changes = [each for each in changes if each not in gone]
        doubted = 0 if self._one_copy else len(gone)

        def note(cursor: Cursor, written: Written) -> None:
            self._note(cursor, len(batch) - doubted - written.older)

        # Two looks have named an older revision already: where there is one copy, that is what CouchDB holds.
        written = store.save_documents(self._source, changes, refused, state, note, sure=self._one_copy)
        found.count(batch)
        found.repaired += len(batch) - doubted - written.older
        if left := doubted + written.older:
            found.doubt(left, OLDER)
        self._tell(batch, written)

    def _fetch(self, batch: list[Difference]) -> tuple[list[Change], list[Refused]]:
        """The newest states with their bodies; tombstones of what CouchDB does not know."""
        gone = [each for each in batch if each.rev is None]
        changes = [Change(each.id, [Revision(each.stored)] if each.stored else [], deleted=True) for each in gone]
        ids = [each.id for each in batch if each.rev]
        whole = self._together(ids)
        singly = [Change(name) for name in ids if name not in whole]
        refused = self._comparison.fetcher.newest(singly) if singly else []
        # One that vanished while it was fetched is left to the next look.
        bad = {each.change.id for each in refused}
        changes += [*whole.values(), *(each for each in singly if each.id not in bad)]
        return changes, [each for each in refused if each.change.rev]

    def _together(self, ids: list[str]) -> dict[str, Change]:
        if len(ids) < 2:
            return {}
        comparison = self._comparison
        found = comparison.hook.states(comparison.database, ids, bodies=True, most_bytes=comparison.most_bytes)
        live = [each for each in found if each.rev and each.has_document and not each.deleted]
        return {each.id: each for each in live if comparison.fetcher.accept(each, bytes(each.doc)) is None}

    def _tell(self, batch: list[Difference], written: Written) -> None:
        kinds = Found()
        kinds.count(batch)
        said = ", ".join(f"{number:,} {kind}" for kind, number in sorted(kinds.kinds.items()))
        log.warning("%s: repaired %s; %s rows changed.", self._source, said, f"{written.rows:,}")
