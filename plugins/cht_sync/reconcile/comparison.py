"""Compares documents of one source on both sides, and says what is really different."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from cht_sync.couchdb.adaptive_reader import PageSize
from cht_sync.couchdb.changes_feed import RevisionFeed
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.structs import Change
from cht_sync.errors import CouchDBError, UnreadableAnswerError
from cht_sync.reconcile.difference import Difference, Found

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import Page
    from cht_sync.reconcile.postgres_side import StoredSide

T = TypeVar("T")
AT_A_TIME = 1000
RECHECK_AFTER_S = 3.0
MOST_RECHECKS = 4
CHANGES_AT_A_TIME = 10_000


class Comparison:
    """One source on both sides; ``checkpoint`` says where its feed goes on, None where it was never read."""

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        stored: StoredSide,
        checkpoint: Callable[[], str | None],
        *,
        content: bool,
        most_bytes: int,
    ) -> None:
        self.hook, self.database, self.stored = hook, database, stored
        self._checkpoint, self.content, self.most_bytes = checkpoint, content, most_bytes
        self.fetcher = DocumentFetcher(hook, database, most_bytes)

    def compare_ids(self, ids: Iterable[str], found: Found) -> list[Difference]:
        """Compares documents by id, once; those of which CouchDB does not say whether they exist are in doubt."""
        differences: list[Difference] = []
        for some in batched(ids, AT_A_TIME):
            # CouchDB first: a change that is stored in between looks like a difference, and passes with the next look.
            states = self.hook.states(self.database, some)
            clear = [state for state in states if state.rev or bytes(state.error) == b'"not_found"']
            if unclear := len(states) - len(clear):
                found.doubt(unclear, f"CouchDB does not say whether documents of {self.database!r} exist.")
            differences += self.compare(clear)
        return differences

    def compare(self, states: list[Change], proof: int | None = None) -> list[Difference]:
        """Compares documents whose state in CouchDB is known."""
        differences = self.stored.differences(states, proof)
        if not self.content:
            return differences
        known = {each.id for each in differences}
        same = [state for state in states if state.rev and state.id not in known]
        if not self.stored.tombstone_bodies:
            same = self._without_stubs(same)
        return differences + self._altered([each for each in same if each.has_document]) + self._altered_by_id(same)

    def _without_stubs(self, states: list[Change]) -> list[Change]:
        """Those of which more is stored than a stub, or that live.

        A tombstone that was stored whole before stubs were wanted is right, too, until its body is cut.
        """
        tombstones = [state for state in states if state.deleted]
        more = {each.id for each in self.stored.altered(tombstones, stubs=True)} if tombstones else set()
        return [state for state in states if not state.deleted or state.id in more]

    def _altered(self, states: list[Change]) -> list[Difference]:
        return self.stored.altered(states) if states else []

    def _altered_by_id(self, states: list[Change]) -> list[Difference]:
        """Those that came without a body: asked for together, then one by one."""
        bare = [state for state in states if not state.has_document]
        differences: list[Difference] = []
        for some in batched((each.id for each in bare if not each.deleted), 50):
            try:
                with_bodies = self.hook.states(self.database, some, bodies=True, most_bytes=self.most_bytes)
            except (PageTooLargeError, UnreadableAnswerError):
                with_bodies = []
            differences += self._altered([each for each in with_bodies if each.rev and each.has_document])
            seen = {each.id for each in with_bodies if each.has_document}
            bare = [each for each in bare if each.id not in seen]
        for state in bare:
            copy = Change(state.id, state.changes, state.deleted)
            if self.fetcher.body(copy) is None:
                differences += self._altered([copy])
        return differences

    def confirmed(self, suspects: list[Difference], found: Found) -> list[Difference]:
        """Those that differ in the same way in two looks, with a pause between, and whose change does not wait.

        A replica may lag, and a newer change may be on its way: neither is a difference.
        """
        sure: list[Difference] = []
        for _ in range(MOST_RECHECKS):
            if not suspects:
                return sure
            # Before the look: what was not stored then was not in the feed up to here either.
            since = self._checkpoint()
            time.sleep(RECHECK_AFTER_S)
            before, again = set(suspects), self.compare_ids([each.id for each in suspects], Found())
            sure += self.without_pending([each for each in again if each in before], since, found)
            suspects = [each for each in again if each not in before]
        found.on_the_way += len(suspects)
        return sure

    def without_pending(self, suspects: list[Difference], since: str | None, found: Found) -> list[Difference]:
        """Those whose change does not wait in the feed.

        :param suspects: differences, both sides of which were read after ``since`` was the checkpoint.
        :param since: where the feed went on then; None where it was never read, so that everything waits.
        """
        if not suspects:
            return []
        waiting = names = {each.id for each in suspects}
        if since is not None:
            waiting = {change.id for page in self.pages(since) for change in page.results if change.id in names}
        found.on_the_way += len(waiting)
        return [each for each in suspects if each.id not in waiting]

    def pages(self, since: str | None) -> Iterator[Page]:
        """The changes from a checkpoint to the end of the feed, without bodies."""
        size = PageSize(CHANGES_AT_A_TIME, first=CHANGES_AT_A_TIME)
        for page in RevisionFeed(self.hook, self.database, size).pages(since):
            yield page
            if page.checkpoint == since and not page.is_last:
                raise CouchDBError(f"The feed of {self.database!r} does not go on.")
            since = page.checkpoint


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of so many items."""
    left = iter(items)
    while some := list(islice(left, size)):
        yield some
