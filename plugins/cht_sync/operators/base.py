"""What operators have in common that Airflow may end while they wait for a server."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from cht_sync.common.concurrency import Background
from cht_sync.errors import StoppedError
from cht_sync.postgres.connection import cancel_statements

if TYPE_CHECKING:
    from airflow.sdk import Context

LAST_MOMENTS_S = 3.0
CANCEL_AGAIN_S = 0.2


class EndableOperator(BaseOperator):
    """Does its work in a thread of its own, which leaves the main thread free to hear that Airflow ends the task."""

    # What the task says of what it has done by then.
    kept = ""
    _work: Background[dict[str, Any]] | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Does the work."""
        self._work = Background(partial(self.work, context))
        try:
            return self._work.result()
        except StoppedError:
            _end(self._work)
            raise

    def work(self, context: Context) -> dict[str, Any]:
        """What the task is for."""
        raise NotImplementedError

    def on_kill(self) -> None:
        """Ends the work when Airflow ends the task: what is under way in Postgres is cancelled and rolled back."""
        if self._work is not None:
            self._work.abandon(StoppedError(f"Airflow ended this task; {self.kept}."))


def _end(work: Background[Any]) -> None:
    """Cancels what it waits for, again and again, for between two statements there is nothing to cancel."""
    until = time.monotonic() + LAST_MOMENTS_S
    # In a thread: a server that does not answer must not keep the task from ending.
    cancelling = Background(cancel_statements)
    while not work.wait(CANCEL_AGAIN_S) and time.monotonic() < until:
        if cancelling.wait(0):
            cancelling = Background(cancel_statements)
