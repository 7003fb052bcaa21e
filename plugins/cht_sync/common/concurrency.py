"""Several feeds at once: each is read by a thread of its own, and one taker gets their pages as they come."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from queue import Full, Queue
from typing import Generic, TypeVar

from cht_sync.common.background import Background

Job = TypeVar("Job")
Piece = TypeVar("Piece")
LOOK_S = 0.2


class SideBySide(Generic[Job, Piece]):
    """Works jobs side by side. The pieces of one job come in their order.

    While a piece is worked on, each thread reads one more and then waits, so that memory stays bounded.

    :param jobs: what is to be done, in the order in which it is begun.
    :param workers: one for each thread: gives the pieces of a job. Each may hold what threads cannot share.
    """

    def __init__(self, jobs: list[Job], workers: list[Callable[[Job], Iterator[Piece]]]) -> None:
        self._jobs, self._lock = iter(jobs), threading.Lock()
        self._workers = workers
        self._ready: Queue[tuple[Job, Piece] | BaseException | None] = Queue(maxsize=1)
        self._stop = threading.Event()

    def __iter__(self) -> Iterator[tuple[Job, Piece]]:
        """Pieces with their jobs; the threads end with this iterator."""
        running = len(self._workers)
        threads = [Background(partial(self._work, worker)) for worker in self._workers]
        try:
            while running:
                item = self._ready.get()
                if item is None:
                    running -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            self._stop.set()
            for thread in threads:
                thread.wait(LOOK_S)

    def _work(self, worker: Callable[[Job], Iterator[Piece]]) -> None:
        try:
            while (job := self._next()) is not None:
                for piece in worker(job):
                    if not self._hand_over((job, piece)):
                        return
            self._hand_over(None)
        except BaseException as error:  # raised where the pieces are taken
            self._hand_over(error)

    def _next(self) -> Job | None:
        with self._lock:
            return next(self._jobs, None)

    def _hand_over(self, item: tuple[Job, Piece] | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=LOOK_S)
            except Full:
                continue
            return True
        return False
