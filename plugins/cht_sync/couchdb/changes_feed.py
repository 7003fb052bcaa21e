"""Walks the changes feed of a database page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.adaptive_reader import MANY, AdaptiveReader, PageSize, read_ahead
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.errors import UnreadableAnswerError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import Page


class RevisionFeed(AdaptiveReader):
    """The changes of one database without documents."""

    def pages(self, since: str | None) -> Iterator[Page]:
        """The changes from a checkpoint to the end of the feed."""
        while True:
            page = self.read(since)
            yield page
            if page.is_last:
                return
            since = page.checkpoint

    def _ask(self, position: str | None, limit: int) -> Page:
        return self._hook.changes(self._database, position, limit, MANY, bodies=False)


class ChangesFeed(RevisionFeed):
    """The changes of one database from a checkpoint on, with their documents.

    A document that cannot come as a page of its own is fetched by id, and goes to quarantine where that fails too.
    """

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        since: str | None,
        batch_size: int = 1000,
        most_bytes: int = 64 * MEGABYTE,
    ) -> None:
        super().__init__(hook, database, PageSize(batch_size))
        self._since, self._most = since, most_bytes
        self._fetcher = DocumentFetcher(hook, database, most_bytes)

    def __iter__(self) -> Iterator[Page]:
        """Pages up to the one at which all changes are read."""
        return read_ahead(self.pages(self._since))

    def _ask(self, position: str | None, limit: int) -> Page:
        most = self._most if limit == 1 else min(self._most, MANY)
        return self._hook.changes(self._database, position, limit, most)

    def _complete(self, page: Page) -> None:
        self._fetcher.complete(page, MANY)

    def _alone(self, position: str | None, asked: int) -> Page | None:
        # A page that cannot be had although the server lists its first row: it is the document, not the server.
        page = self._row(position)
        if asked > 1 and page.results:
            return None
        found = [(change, self._fetcher.body(change)) for change in page.results]
        page.results = [change for change, refused in found if refused is None]
        page.refused = [refused for _, refused in found if refused]
        page.size += sum(len(change.doc) for change in page.results)
        return page

    def _row(self, since: str | None) -> Page:
        """The next change without its document."""

        def once() -> Page:
            try:
                return self._hook.changes(self._database, since, 1, self._most, bodies=False)
            except PageTooLargeError as error:
                raise UnreadableAnswerError(str(error)) from None

        return self._hook.patiently(once)
