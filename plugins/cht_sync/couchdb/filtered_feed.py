"""Walks the changes feed without documents, and fetches those that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cht_sync.couchdb.adaptive_reader import MANY, PageSize
from cht_sync.couchdb.changes_feed import RevisionFeed
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.structs import NO_SEQ, Page
from cht_sync.errors import CouchDBError, RequestRefusedError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import Change

AT_A_TIME = 200


class FilteredFeed(RevisionFeed):
    """Some of the documents of a database, where most are not wanted, such as tombstones, which no listing names."""

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        since: str | None,
        wanted: Callable[[list[Change]], list[Change]],
        *,
        batch_size: int,
        most_bytes: int,
    ) -> None:
        super().__init__(hook, database, PageSize(10 * batch_size))
        self._since, self._wanted, self._found = since, wanted, Page([], NO_SEQ)
        self._fetcher = DocumentFetcher(hook, database, most_bytes)

    def __iter__(self) -> Iterator[tuple[Page, str | None]]:
        """Each page of what is wanted, with the seq behind it; at the end none that holds nothing."""
        for feed in self.pages(self._since):
            if self._found.results or self._found.refused or not feed.is_last:
                yield self._found, feed.checkpoint

    def _complete(self, page: Page) -> None:
        """Keeps what is wanted of a page beside it: how the feed goes on, the whole page says."""
        found = self._found = Page(self._wanted(page.results), NO_SEQ)
        self._fetcher.odd(found)
        self._bodies([change for change in found.results if not change.has_document])
        found.size = sum(len(change.doc) for change in found.results)
        self._fetcher.complete(found, MANY)

    def _bodies(self, changes: list[Change]) -> None:
        """Fetches many bodies with one request; those that do not come so are left to be fetched one by one."""
        size = 0
        for start in range(0, len(changes), AT_A_TIME):
            some = changes[start : start + AT_A_TIME]
            try:
                bodies = self._hook.revisions(self._database, some, MANY)
            except (PageTooLargeError, RequestRefusedError, CouchDBError):
                continue
            for change in some:
                if body := bodies.get(change.id):
                    self._fetcher.accept(change, body)
            size += sum(len(change.doc) for change in some)
            if size > MANY and len(changes) > 1:
                raise PageTooLargeError(MANY)
