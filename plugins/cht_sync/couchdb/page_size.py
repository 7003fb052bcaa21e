"""How many changes to ask for at a time."""

from __future__ import annotations

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.structs import Page

TARGET = 8 * MEGABYTE
FIRST = 100
STEPS = 20


class PageSize:
    """Aims at pages of 8 MB, and asks for less where pages do not come through.

    The number follows the bytes that came, growing four-fold at most. After an answer that timed out or broke off
    it halves, and grows back by a twentieth of ``most`` with each page that comes: additive increase,
    multiplicative decrease.

    :param most: changes in a page at most.
    :param target: bytes of a page to aim at, default 8 MB.
    """

    def __init__(self, most: int, target: int = TARGET) -> None:
        self._most = self._ceiling = most
        self._target = target
        self.value = min(FIRST, most)

    def failed(self) -> None:
        """An answer timed out or broke off."""
        self.value = self._ceiling = max(1, self.value // 2)

    def too_large(self) -> None:
        """An answer was larger than may be read into memory."""
        self.value = max(1, self.value // 2)

    def one(self) -> None:
        """Nothing but a single change is worth asking for."""
        self.value = self._ceiling = 1

    def came(self, page: Page) -> None:
        """A page came through.

        :param page: the page; an empty one says nothing of sizes.
        """
        self._ceiling = min(self._most, self._ceiling + max(1, self._most // STEPS))
        if page.results:
            fitting = self._target * len(page.results) // max(page.size, 1)
            # Sizes come in runs: what is small now may grow with the next document.
            self.value = max(1, min(fitting, self.value * 4, self._ceiling))
