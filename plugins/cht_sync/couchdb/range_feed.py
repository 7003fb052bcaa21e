"""Walks a range of ids page by page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from cht_sync.couchdb.changes_feed import MANY
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.page_size import PageSize
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.structs import Change, Page
from cht_sync.errors import BrokenAnswerError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.id_ranges import Range

NO_SEQ = msgspec.Raw(b"null")


class RangeFeed:
    """The documents of a range of ids that are not deleted, in the order of CouchDB.

    As with the changes feed, what does not come through is asked for in smaller parts, down to one document, which is
    then fetched by id.

    :param hook: reads the pages.
    :param database: name of the database.
    :param keys: ``_id`` to begin with and the one to end before.
    :param after: ``_id`` of the last document that is known already; None at first.
    :param batch_size: documents in a page at most.
    :param most_bytes: bytes read into memory at most for a single document.
    :param page_bytes: bytes of a page of several documents at most, default 32 MB; several feeds share the memory.
    """

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        keys: Range,
        after: str | None,
        *,
        batch_size: int,
        most_bytes: int,
        page_bytes: int = MANY,
    ) -> None:
        self._hook, self._database, self._keys, self._after = hook, database, keys, after
        self._many = min(most_bytes, page_bytes)
        self._fetcher = DocumentFetcher(hook, database, most_bytes)
        self.size = PageSize(batch_size, page_bytes // 4)
        self._ended = False

    def __iter__(self) -> Iterator[tuple[Page, str | None]]:
        """Each page with the ``_id`` of the last document seen."""
        while not self._ended:
            page, last = self._read()
            if last is None:
                return
            self._after = last
            yield page, last

    def _read(self) -> tuple[Page, str | None]:
        while True:
            asked = self.size.value
            try:
                page = _page(self._one() if asked == 1 else self._hook.patiently(self._try))
                if not page.results:
                    return page, None
                last = page.results[-1].id
                self._fetcher.odd(page)
                self._fetcher.complete(page, self._many)
            except PageTooLargeError:
                self.size.too_large()
            except BrokenAnswerError:
                if asked == 1:
                    raise
                # Not even small pages come through: it may be one document.
                self.size.one()
            else:
                self.size.came(page)
                return page, last

    def _try(self) -> list[Change]:
        asked = self.size.value
        try:
            rows = self._listing(asked, bodies=True, most_bytes=self._many)
        except BrokenAnswerError:
            self.size.failed()
            raise
        return rows

    def _one(self) -> list[Change]:
        """The next document without its body, which is then fetched by id."""
        return self._hook.patiently(lambda: self._listing(1, bodies=False))

    def _listing(self, limit: int, *, bodies: bool, most_bytes: int | None = None) -> list[Change]:
        """The next documents. The last one known is asked for again: skipping one would miss another, were it gone."""
        start, again = (self._keys[0], 0) if self._after is None else (self._after, 1)
        rows = self._hook.listing(
            self._database, (start, self._keys[1]), limit + again, bodies=bodies, most_bytes=most_bytes, patient=False
        )
        # What is new behind the last one comes with the changes feed.
        self._ended = len(rows) < limit + again
        return rows[1:] if again and rows and rows[0].id == self._after else rows[:limit]


def _page(rows: list[Change]) -> Page:
    return Page(rows, NO_SEQ, None, sum(len(row.doc) for row in rows))
