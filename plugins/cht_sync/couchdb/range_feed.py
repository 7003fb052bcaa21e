"""Walks a range of ids page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cht_sync.couchdb.adaptive_reader import AdaptiveReader, PageSize
from cht_sync.couchdb.structs import NO_SEQ, Page

if TYPE_CHECKING:
    from cht_sync.couchdb.document_fetcher import DocumentFetcher
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.id_ranges import Range


class RangeFeed(AdaptiveReader):
    """The documents of a range of ids that are not deleted, in the order of CouchDB.

    :param after: ``_id`` of the last document that is known already; None at first.
    :param bodies: whether documents come along, save for one that does not come in a page with others.
    :param fetcher: fetches those that came without a body.
    """

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        keys: Range,
        after: str | None = None,
        *,
        size: PageSize,
        page_bytes: int,
        bodies: bool = True,
        fetcher: DocumentFetcher | None = None,
    ) -> None:
        super().__init__(hook, database, size)
        self._keys, self._page_bytes, self._bodies, self._fetcher = keys, page_bytes, bodies, fetcher
        self._last, self._ended = after, False

    def __iter__(self) -> Iterator[tuple[Page, str | None]]:
        """Each page with the ``_id`` of the last document seen."""
        while not self._ended:
            after, page = self._last, self.read(self._last)
            if self._last == after:
                return
            yield page, self._last

    def _ask(self, position: str | None, limit: int) -> Page:
        """The next documents. The last one known is asked for again: skipping one would miss another, were it gone."""
        start, again = (self._keys[0], 0) if position is None else (position, 1)
        bodies = self._bodies and limit > 1
        rows = self._hook.listing(
            self._database, (start, self._keys[1]), limit + again,
            bodies=bodies, most_bytes=self._page_bytes if bodies else None, patient=False,
        )  # fmt: skip
        # What is new behind the last one comes with the changes feed.
        self._ended = len(rows) < limit + again
        rows = rows[1:] if again and rows and rows[0].id == position else rows[:limit]
        self._last = rows[-1].id if rows else position
        return Page(rows, NO_SEQ, None, sum(len(row.doc) for row in rows))

    def _complete(self, page: Page) -> None:
        if self._fetcher:
            self._fetcher.odd(page)
            self._fetcher.complete(page, self._page_bytes)
