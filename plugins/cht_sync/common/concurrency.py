"""Calls in threads of their own: one that can be waited for, and several that work jobs side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from functools import partial
from queue import Full, Queue, SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Job = TypeVar("Job")
Piece = TypeVar("Piece")
LOOK_S = 0.2


class Background(Generic[T]):
    """Starts a call at once; whoever wants its result waits for it, or leaves it alone.

    The thread is a daemon: a request that hangs keeps no process from ending, and Python runs the handler of a
    signal while the main thread waits here, which it cannot do inside a call of libpq.
    Source: https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers
    """

    def __init__(self, call: Callable[[], T]) -> None:
        # Of the queues the only one that a signal's handler may put something into.
        # Source: https://docs.python.org/3/library/queue.html#simplequeue-objects
        self._outcome: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        # Airflow keeps what a task's log lines carry in context variables.
        self._thread = threading.Thread(target=copy_context().run, args=(self._run, call), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], T]) -> None:
        try:
            self._outcome.put((call(), None))
        except BaseException as error:  # raised again where the result is asked for
            self._outcome.put((None, error))

    def abandon(self, error: BaseException) -> None:
        """Makes whoever waits for the result stop waiting; the call itself goes on until its thread ends."""
        self._outcome.put((None, error))

    def wait(self, seconds: float) -> bool:
        """Waits until the call has ended, but not longer."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def result(self) -> T:
        """What the call returned, once it has; to be asked for once.

        :raises BaseException: what the call raised, or why it was abandoned.
        """
        value, error = self._outcome.get()
        if error is not None:
            raise error
        return value


class SideBySide(Generic[Job, Piece]):
    """Works jobs side by side. The pieces of one job come in their order.

    While a piece is worked on, each thread reads one more and then waits, so that memory stays bounded.

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
