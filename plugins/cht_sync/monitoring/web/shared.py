"""Answers that many readers share, so that a page left open everywhere costs the databases little."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from fastapi import HTTPException

T = TypeVar("T")
BUSY = "Many ask for this at the same time: ask again in a few seconds."


class AtOnce:
    """Lets so many requests be answered at once, and makes others wait a little.

    :param most: of them.
    :param patience_s: seconds after which one that waits is refused.
    """

    def __init__(self, most: int, patience_s: float) -> None:
        self._places, self._patience_s = threading.BoundedSemaphore(most), patience_s

    @contextmanager
    def place(self) -> Iterator[None]:
        """Waits for a place.

        :raises HTTPException: 503 where none gets free.
        """
        if not self._places.acquire(timeout=self._patience_s):
            raise HTTPException(503, BUSY, {"Retry-After": "5"})
        try:
            yield
        finally:
            self._places.release()


class Shared(Generic[T]):
    """An answer that is made by one request at a time and is good for some seconds.

    :param patience_s: seconds after which a request that waits for another's answer is refused.
    """

    def __init__(self, patience_s: float) -> None:
        self._at_once = AtOnce(1, patience_s)
        self._made: tuple[float, T] | None = None

    def get(self, make: Callable[[], T], seconds: float) -> T:
        """The answer, as it is or a new one.

        :param make: makes it; what it raises is kept for nobody.
        :param seconds: how old it may be.
        :raises HTTPException: 503 where one that is being made takes too long.
        """
        asked = time.monotonic()
        with self._at_once.place():
            # One that was begun after this was asked for is as good as its own.
            if self._made and self._made[0] >= asked - seconds:
                return self._made[1]
            begun = time.monotonic()
            answer = make()
            self._made = begun, answer
            return answer
