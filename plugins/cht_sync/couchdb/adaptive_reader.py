"""Reads a feed or a listing of CouchDB page by page, and asks for less where a page does not come through."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from cht_sync.common.concurrency import Background
from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.errors import BrokenAnswerError, UnreadableAnswerError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import Page

T = TypeVar("T")
TARGET = 8 * MEGABYTE
# Two pages are in memory at a time: what may be larger is one document, not many together.
MANY = 4 * TARGET
FIRST = 100
STEPS = 20
log = logging.getLogger(__name__)


class PageSize:
    """How many rows to ask for: aims at pages of 8 MB, and less where pages do not come through.

    The number follows the bytes that came, growing four-fold at most. After an answer that timed out or broke off
    it halves, and grows back by a twentieth of ``most`` with each page that comes: additive increase,
    multiplicative decrease.
    """

    def __init__(self, most: int, target: int = TARGET, first: int = FIRST) -> None:
        self._most = self._ceiling = most
        self._target = target
        self.value = min(first, most)

    def failed(self) -> None:
        """An answer timed out or broke off."""
        self.value = self._ceiling = max(1, self.value // 2)

    def too_large(self) -> None:
        """An answer was larger than may be read into memory."""
        self.value = max(1, self.value // 2)

    def one(self) -> None:
        """Nothing but a single row is worth asking for."""
        self.value = self._ceiling = 1

    def came(self, page: Page) -> None:
        """A page came through; an empty one says nothing of sizes."""
        self._ceiling = min(self._most, self._ceiling + max(1, self._most // STEPS))
        if page.results:
            fitting = self._target * len(page.results) // max(page.size, 1)
            # Sizes come in runs: what is small now may grow with the next document.
            self.value = max(1, min(fitting, self.value * 4, self._ceiling))


class AdaptiveReader:
    """What all walks through a database have in common; a subclass says what it asks for, and what a page lacks.

    A page that is too large for memory, or does not come through, is asked for again in parts, down to one row.
    """

    def __init__(self, hook: CouchDBHook, database: str, size: PageSize) -> None:
        self._hook, self._database, self.size = hook, database, size

    def read(self, position: str | None) -> Page:
        """The page behind a seq or an ``_id``, whatever it takes.

        :raises CouchDBError: if the server fails for longer than the hook tolerates; as UnreadableAnswerError if not
            even one row can be had.
        """
        while True:
            asked = self.size.value
            try:
                page = self._hook.patiently(partial(self._try, position))
                self._complete(page)
            except PageTooLargeError as error:
                if asked > 1:
                    self.size.too_large()
                    most = error.most // MEGABYTE
                    log.info("A page of more than %d MB; asking for %d rows at a time.", most, self.size.value)
                elif alone := self._alone(position, asked):
                    return alone
                else:
                    raise UnreadableAnswerError(str(error)) from None
            except BrokenAnswerError:
                if alone := self._alone(position, asked):
                    return alone
                if asked == 1:
                    raise
                # Not even small pages come through: it may be one document.
                self.size.one()
            else:
                self.size.came(page)
                return page

    def _try(self, position: str | None) -> Page:
        try:
            return self._ask(position, self.size.value)
        except BrokenAnswerError:
            self.size.failed()
            raise

    def _ask(self, position: str | None, limit: int) -> Page:
        """Asks for a page once."""
        raise NotImplementedError

    def _complete(self, page: Page) -> None:
        """Fetches what a page came without; what this raises is handled as a failure of the page."""

    def _alone(self, position: str | None, asked: int) -> Page | None:
        """The next row, had otherwise than as a page; None where it cannot, or is to be asked for as a page of one."""


def read_ahead(pages: Iterator[T]) -> Iterator[T]:
    """Hands out pages; while one is worked on, the next is on the wire."""
    ahead = Background(partial(next, pages, None))
    while (page := ahead.result()) is not None:
        ahead = Background(partial(next, pages, None))
        yield page
