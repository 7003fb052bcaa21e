"""The first load of a large database: ranges of ids, several at once, before the changes feed takes over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from cht_sync.common.concurrency import SideBySide
from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.adaptive_reader import MANY, PageSize
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.filtered_feed import FilteredFeed
from cht_sync.couchdb.id_ranges import id_ranges_side_by_side
from cht_sync.couchdb.range_feed import RangeFeed
from cht_sync.couchdb.structs import NO_SEQ, Page
from cht_sync.store.checkpoints import SourceState
from cht_sync.store.first_load_plan import REST, TOMBSTONES, LoadPart, LoadPlan
from cht_sync.sync.database_identity import sign_of_recreation

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import Change, DatabaseInfo
    from cht_sync.store.first_load_store import FirstLoadStore
    from cht_sync.sync.progress import Progress

Piece = tuple[Page | None, str | None]
# So that one connection has no long rest of work while the others have none.
PARTS_A_CONNECTION = 4
LOG_S = 10.0
log = logging.getLogger(__name__)


class FirstLoad:
    """Loads one claimed source without a checkpoint; killed at any point, the next run goes on with what is missing.

    What changes while it reads comes again with the feed, which goes on from where it stood before the load began.

    :param hooks: one of the server for each connection at a time; threads cannot share one.
    """

    def __init__(
        self,
        hooks: list[CouchDBHook],
        database: str,
        store: FirstLoadStore,
        progress: Progress,
        *,
        batch_size: int,
        most_bytes: int,
    ) -> None:
        self._hooks, self._database, self._store, self._progress = hooks, database, store, progress
        self._source, self._batch_size, self._most_bytes = progress.source, batch_size, most_bytes
        # Each connection has a page in hand and one on the wire: together they are to stay below 100 MB.
        self._page_bytes = max(MANY // len(hooks), MEGABYTE)

    def run(self, info: DatabaseInfo, instance: str | None, budget: float) -> bool:
        """Loads until everything is there or the budget is spent."""
        begun = time.monotonic()
        plan = self._plan(info, instance)
        todo = [part for part in plan.parts if not part.done and part.name != REST]
        state, total = self._store.state(self._source), sum(part.documents for part in plan.parts)
        log.info(
            "%s: first load, %d of %d parts to go, %d at a time; %s documents are there.",
            self._source, len(todo), len(plan.parts), len(self._hooks), f"{total:,}",
        )  # fmt: skip
        told = begun
        for part, (page, position) in SideBySide(todo, [self._reader(hook) for hook in self._hooks]):
            self._save(part, page, position, state)
            self._progress.seconds = round(time.monotonic() - begun, 3)
            if time.monotonic() - told > LOG_S:
                told = time.monotonic()
                self._tell(plan, info)
            if self._progress.seconds > budget and not all(each.done for each in plan.parts):
                self._tell(plan, info)
                log.info("%s: time budget (%s s) used; the next run continues the load.", self._source, budget)
                return False
        self._tell(plan, info)
        if not self._load_rest(plan, state, begun + budget):
            return False
        self._store.end_load(self._source, plan)
        log.info("%s: everything is loaded; the changes feed takes over.", self._source)
        return True

    def _plan(self, info: DatabaseInfo, instance: str | None) -> LoadPlan:
        """The load that is under way, or a new one."""
        found = self._store.load_plan(self._source)
        if found:
            as_it_was = SourceState(found.seq, found.instance)
            hook = self._hooks[0]
            sign = sign_of_recreation(lambda: hook.database(self._database), info, instance, as_it_was)
            if not sign:
                return found
            log.warning("%s: the first load begins again, the database is another one: %s.", self._source, sign)
            self._store.restart(self._source, instance)
        # Before the first document is read: what changes from now on comes with the feed.
        seq = self._hooks[0].newest_seq(self._database)
        most = PARTS_A_CONNECTION * len(self._hooks)
        size = max(self._batch_size, -(-info.doc_count // most))
        ranges = id_ranges_side_by_side(self._hooks, self._database, size, info.doc_count)
        parts = [LoadPart(TOMBSTONES, expected=info.doc_del_count)] if info.doc_del_count != 0 else []
        share, rest = divmod(info.doc_count, len(ranges))
        parts += [
            LoadPart(f"range {n:03}", keys, expected=share + (rest if n == len(ranges) else 0))
            for n, keys in enumerate(ranges, start=1)
        ]
        plan = LoadPlan(parts, seq, instance)
        self._store.begin_load(self._source, plan)
        return plan

    def _reader(self, hook: CouchDBHook) -> Callable[[LoadPart], Iterator[Piece]]:
        def read(part: LoadPart) -> Iterator[Piece]:
            feed: RangeFeed | FilteredFeed
            if part.name == TOMBSTONES:
                feed = self._bare(hook, part, lambda changes: [change for change in changes if change.deleted])
            else:
                feed = RangeFeed(
                    hook, self._database, part.keys, part.position,
                    size=PageSize(self._batch_size, self._page_bytes // 4),
                    page_bytes=min(self._most_bytes, self._page_bytes),
                    fetcher=DocumentFetcher(hook, self._database, self._most_bytes),
                )  # fmt: skip
            yield from feed
            yield None, None

        return read

    def _save(self, part: LoadPart, page: Page | None, position: str | None, state: SourceState) -> None:
        """Stores a page and how far its part has come, both or neither."""
        after = replace(part, done=True) if page is None else replace(part, position=position)
        page = page or Page([], NO_SEQ)
        after.documents += len(page.results) + len(page.refused)
        written = self._store.save_part(self._source, page, part, after, state)
        part.position, part.documents, part.done = after.position, after.documents, after.done
        self._progress.count(written)
        self._progress.pages += 1
        self._progress.bytes += page.size

    def _load_rest(self, plan: LoadPlan, state: SourceState, until: float) -> bool:
        """Where the listing named fewer documents than there are, looks in the feed for those that it left out.

        A shard's replica may lag. PouchDB's server, which does not count tombstones, lists no ``_id`` behind U+00FF:
        there the feed is always looked through.
        """
        ranges = [part for part in plan.parts if part.name not in {TOMBSTONES, REST}]
        listed, counted = sum(part.documents for part in ranges), sum(part.expected or 0 for part in ranges)
        rest = next((part for part in plan.parts if part.name == REST), None)
        now = self._hooks[0].database(self._database)
        # What was deleted meanwhile need not have been listed; what was written meanwhile comes with the feed.
        if rest is None and now.doc_del_count is not None and listed >= min(counted, now.doc_count):
            return True
        if rest is None:
            text = "%s: %s of %s documents were listed; the feed is asked for others."
            log.info(text, self._source, f"{listed:,}", f"{counted:,}")
            rest = LoadPart(REST)
            plan.parts.append(rest)
            self._store.add_part(self._source, plan, rest)
        if rest.done:
            return True
        for page, position in self._bare(self._hooks[0], rest, lambda some: self._store.absent(self._source, some)):
            self._save(rest, page, position, state)
            if time.monotonic() > until:
                return False
        self._save(rest, None, None, state)
        return True

    def _bare(self, hook: CouchDBHook, part: LoadPart, wanted: Callable[[list[Change]], list[Change]]) -> FilteredFeed:
        return FilteredFeed(
            hook, self._database, part.position, wanted, batch_size=self._batch_size, most_bytes=self._most_bytes
        )

    def _tell(self, plan: LoadPlan, info: DatabaseInfo) -> None:
        progress, total = self._progress, info.doc_count + (info.doc_del_count or 0)
        rate = progress.documents / progress.seconds if progress.seconds else 0.0
        log.info(
            "%s: first load, %d of %d parts done, %s of about %s documents, %s documents/s.",
            self._source, sum(part.done for part in plan.parts), len(plan.parts),
            f"{sum(part.documents for part in plan.parts):,}", f"{total:,}", f"{rate:,.0f}",
        )  # fmt: skip
