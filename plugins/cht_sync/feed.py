"""Walks a changes feed page by page, one page ahead of whoever takes them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cht_sync.errors import CouchDBError
from cht_sync.page import MEGABYTE
from cht_sync.transport import PageTooLargeError

if TYPE_CHECKING:
    from cht_sync.couchdb import CouchDBHook
    from cht_sync.page import Page

PAGE_TARGET = 8 * MEGABYTE
PAGE_LIMIT = 4 * PAGE_TARGET
FIRST_PAGE = 100
log = logging.getLogger(__name__)


class ChangesFeed:
    """The changes of one database from a checkpoint on.

    Pages stay near 8 MB whatever the documents' size: the number of changes asked for follows the bytes that
    came, from 100 up to ``batch_size``; a page of more than 32 MB is dropped and asked for again in parts.

    :param hook: reads the pages.
    :param database: name of the database.
    :param since: checkpoint to go on from; None for the beginning.
    :param batch_size: changes in a page at most, default 1000.
    """

    def __init__(self, hook: CouchDBHook, database: str, since: str | None, batch_size: int = 1000) -> None:
        self._hook, self._database, self._since = hook, database, since
        self._most = batch_size
        self.limit = min(FIRST_PAGE, batch_size)

    def __iter__(self) -> Iterator[Page]:
        """Pages up to the one at which the feed is drained; while one is worked on, the next is on the wire."""
        with ThreadPoolExecutor(1, "changes-feed") as reader:
            ahead = reader.submit(self._read, self._since)
            while True:
                page = ahead.result()
                if page.is_last:
                    yield page
                    return
                ahead = reader.submit(self._read, page.checkpoint)
                yield page

    def _read(self, since: str | None) -> Page:
        while True:
            try:
                page = self._hook.changes(self._database, since, self.limit, PAGE_LIMIT)
            except PageTooLargeError as error:
                self.limit = max(1, self.limit // 4)
                log.info(
                    "A page of more than %d MB; asking for %d changes at a time.",
                    error.size // MEGABYTE,
                    self.limit,
                )
                continue
            self._adapt(page)
            self._complete(page)
            return page

    def _complete(self, page: Page) -> None:
        """Fetches again what came without a body, though bodies were asked for."""
        missing = [change for change in page.results if not change.has_document and not change.deleted]
        if not missing:
            return
        log.warning("%d changes of %s came without a document; fetching them by id.", len(missing), self._database)
        found = {each.id: each for each in self._hook.documents(self._database, [each.id for each in missing])}
        for change in missing:
            again = found.get(change.id)
            if again is None or not (again.has_document or again.deleted):
                raise CouchDBError(
                    f"CouchDB lists document {change.id!r} of database {self._database!r} but does not hand it out:"
                    " repair or delete it in CouchDB; the feed stops before it."
                )
            change.doc, change.deleted, change.changes = again.doc, again.deleted, again.changes

    def _adapt(self, page: Page) -> None:
        """Aims the next page at the target; grows at most four-fold, since sizes come in runs."""
        if page.results:
            fitting = PAGE_TARGET * len(page.results) // max(page.size, 1)
            self.limit = max(1, min(fitting, self.limit * 4, self._most))
