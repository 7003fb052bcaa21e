"""Walks the changes feed without bodies, and fetches those that are wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from cht_sync.couchdb.changes_feed import MANY
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.page_size import PageSize
from cht_sync.couchdb.range_feed import NO_SEQ
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.structs import Page
from cht_sync.errors import BrokenAnswerError, CouchDBError, RequestRefusedError, UnreadableAnswerError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import Change

AT_A_TIME = 200


class BareFeed:
    """Some of the documents of a database, where most are not wanted: such as the tombstones, which no listing names.

    :param hook: reads the pages.
    :param database: name of the database.
    :param since: seq to go on from; None for the beginning.
    :param wanted: chooses from changes without bodies.
    :param batch_size: changes in a page at most.
    :param most_bytes: bytes read into memory at most for a single document.
    """

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
        self._hook, self._database, self._since, self._wanted = hook, database, since, wanted
        self._fetcher = DocumentFetcher(hook, database, most_bytes)
        self.size = PageSize(10 * batch_size)

    def __iter__(self) -> Iterator[tuple[Page, str | None]]:
        """Each page of what is wanted, with the seq behind it; at the end none that holds nothing."""
        while True:
            feed, page = self._read()
            self._since = feed.checkpoint
            if page.results or page.held or not feed.is_last:
                yield page, self._since
            if feed.is_last:
                return

    def _read(self) -> tuple[Page, Page]:
        while True:
            try:
                feed = self._hook.patiently(self._try)
                some = self._wanted(feed.results)
                page = Page(some, NO_SEQ, None)
                self._fetcher.odd(page)
                self._bodies([change for change in page.results if not change.has_document])
                page.size = sum(len(change.doc) for change in page.results)
                self._fetcher.complete(page, MANY)
            except PageTooLargeError as error:
                if self.size.value == 1:
                    raise UnreadableAnswerError(str(error)) from None
                self.size.too_large()
            else:
                self.size.came(feed)
                return feed, page

    def _try(self) -> Page:
        try:
            return self._hook.changes(self._database, self._since, self.size.value, MANY, bodies=False)
        except BrokenAnswerError:
            self.size.failed()
            raise

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
