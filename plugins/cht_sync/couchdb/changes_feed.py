"""Walks a changes feed page by page, one page ahead of whoever takes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from cht_sync.common.concurrency import Background
from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.page_size import TARGET, PageSize
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.errors import BrokenAnswerError, UnreadableAnswerError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import Page

MANY = 4 * TARGET
log = logging.getLogger(__name__)


class ChangesFeed:
    """The changes of one database from a checkpoint on.

    Pages stay near 8 MB whatever the documents' size. One of more than 32 MB, or one that does not come through, is
    asked for again in parts, down to one document; a document that cannot come as a page of its own is fetched by
    id, and held for quarantine where that fails too.

    :param hook: reads the pages.
    :param database: name of the database.
    :param since: checkpoint to go on from; None for the beginning.
    :param batch_size: changes in a page at most, default 1000.
    :param most_bytes: bytes read into memory at most for a single document, default 64 MB.
    """

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        since: str | None,
        batch_size: int = 1000,
        most_bytes: int = 64 * MEGABYTE,
    ) -> None:
        self._hook, self._database, self._since, self._most = hook, database, since, most_bytes
        self._fetcher = DocumentFetcher(hook, database, most_bytes)
        self.size = PageSize(batch_size)

    def __iter__(self) -> Iterator[Page]:
        """Pages up to the one at which the feed is drained; while one is worked on, the next is on the wire."""
        ahead = self._read_ahead(self._since)
        while True:
            page = ahead.result()
            if page.is_last:
                yield page
                return
            ahead = self._read_ahead(page.checkpoint)
            yield page

    def _read_ahead(self, since: str | None) -> Background[Page]:
        return Background(lambda: self._read(since))

    def _read(self, since: str | None) -> Page:
        """The next page, whatever it takes."""
        while True:
            asked = self.size.value
            try:
                page = self._hook.patiently(lambda: self._try(since))
                self._fetcher.complete(page, MANY)
            except PageTooLargeError as error:
                if asked == 1:
                    return self._one_by_id(since)
                self.size.too_large()
                log.info(
                    "A page of more than %d MB; asking for %d changes at a time.",
                    error.most // MEGABYTE,
                    self.size.value,
                )
            except BrokenAnswerError:
                # A page that cannot be had although the server lists its first row: it is the document, not the server.
                first = self._hook.patiently(lambda: self._row(since))
                if asked == 1 or not first.results:
                    return self._one_by_id(since)
                self.size.one()
            else:
                self.size.came(page)
                return page

    def _try(self, since: str | None) -> Page:
        asked = self.size.value
        # Two pages are in memory at a time: what may be large is one document, not many together.
        most = self._most if asked == 1 else min(self._most, MANY)
        try:
            return self._hook.changes(self._database, since, asked, most)
        except BrokenAnswerError:
            self.size.failed()
            raise

    def _row(self, since: str | None) -> Page:
        try:
            return self._hook.changes(self._database, since, 1, self._most, bodies=False)
        except PageTooLargeError as error:
            raise UnreadableAnswerError(str(error)) from None

    def _one_by_id(self, since: str | None) -> Page:
        """A page of the next change, its document fetched by id."""
        page = self._hook.patiently(lambda: self._row(since))
        found = [(change, self._fetcher.body(change)) for change in page.results]
        page.results = [change for change, refused in found if refused is None]
        page.held = [refused for _, refused in found if refused]
        page.size += sum(len(change.doc) for change in page.results)
        return page
