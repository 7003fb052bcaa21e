"""A call in a thread of its own, so that the main thread hears Airflow's signals."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """Starts a call at once; whoever wants its result waits for it, or leaves it alone.

    The thread is a daemon: a request that hangs keeps no process from ending, and Python runs the handler of a
    signal while the main thread waits here, which it cannot do inside a call of libpq.
    Source: https://docs.python.org/3/library/signal.html#execution-of-python-signal-handlers

    :param call: what to run.
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
        """Makes whoever waits for the result stop waiting; the call itself goes on until its thread ends.

        :param error: what :meth:`result` raises.
        """
        self._outcome.put((None, error))

    def wait(self, seconds: float) -> bool:
        """Waits until the call has ended, but not longer.

        :param seconds: how long at most.
        :return: whether it has ended.
        """
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
