"""What operators have in common that Airflow may end while they wait for a server."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from cht_sync.background import Background
from cht_sync.errors import StoppedError
from cht_sync.postgres import cancel_statements

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
        """Does the work.

        :param context: Airflow's.
        :return: what :meth:`work` returned.
        """
        self._work = Background(partial(self.work, context))
        try:
            return self._work.result()
        except StoppedError:
            self._work.wait(LAST_MOMENTS_S)
            raise

    def work(self, context: Context) -> dict[str, Any]:
        """What the task is for.

        :param context: Airflow's.
        """
        raise NotImplementedError

    def on_kill(self) -> None:
        """Ends the work when Airflow ends the task: what is under way in Postgres is cancelled and rolled back."""
        if self._work is None:
            return
        # Not here: a signal's handler must not wait for a server.
        Background(partial(_cancel, self._work))
        self._work.abandon(StoppedError(f"Airflow ended this task; {self.kept}."))


def _cancel(work: Background[Any]) -> None:
    """Again and again, for between two statements there is nothing to cancel."""
    cancel_statements()
    while not work.wait(CANCEL_AGAIN_S):
        cancel_statements()
