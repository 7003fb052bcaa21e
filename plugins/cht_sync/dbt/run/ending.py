"""Ends dbt before Airflow ends the run: with a sentence in the log, and with nothing left at work in Postgres."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Self

from cht_sync.errors import OutOfTimeError, StoppedError
from cht_sync.settings.settings import Settings
from cht_sync.settings.time_limits import models_time_limit_text

log = logging.getLogger(__name__)

# The last task of the run has to be scheduled, too.
_LEAST_S, _MOST_S, _PART = 15.0, 120.0, 0.05


class EndedError(BaseException):
    """Ends dbt from within a signal handler: nothing that dbt expects, so nothing of dbt goes on behind it."""


class Ending:
    """While dbt runs: ends it when the time is over, or when Airflow ends the task.

    Airflow itself ends a run at its time limit without a word: it skips its tasks and kills their processes, and what
    dbt has asked of Postgres goes on.
    """

    now: Ending | None = None

    def __init__(self, settings: Settings, context: Any, end_sessions: Callable[[], object]) -> None:
        self._settings, self._context, self._end_sessions = settings, context, end_sessions
        self.error: Exception | None = None
        self._owns = False

    def __enter__(self) -> Self:
        Ending.now = self
        self._began, self._before = time.monotonic(), (0.0, 0.0)
        self._armed = threading.current_thread() is threading.main_thread()
        if self._armed and (left := seconds_left(self._context)) is not None:
            self._handler = signal.signal(signal.SIGALRM, lambda *_: self._out_of_time())
            self._before = signal.setitimer(signal.ITIMER_REAL, max(left, 0.01))
        else:
            self._armed = False
        return self

    def __exit__(self, *_: object) -> None:
        if self._armed:
            left, passed = self._before[0], time.monotonic() - self._began
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._handler)
            if left:
                signal.setitimer(signal.ITIMER_REAL, max(left - passed, 0.01))
        Ending.now = None
        if self.error:
            raise self.error from None

    @contextmanager
    def of_own(self) -> Iterator[None]:
        """Within this block dbt's sessions are those of this task; before it, another one may be at work."""
        self._owns = True
        try:
            yield
        except BaseException as error:
            if not isinstance(error, Exception):
                self._end_statements()
            raise
        finally:
            self._owns = False

    def stop(self) -> None:
        """Ends dbt because Airflow ends the task."""
        self._end(
            StoppedError(
                "Airflow ended this task, as its state was changed, its worker stopped or was not heard of; dbt's"
                " statements in PostgreSQL were cancelled, and the models that have ended are kept"
            )
        )

    def _out_of_time(self) -> None:
        self._end(OutOfTimeError(models_time_limit_text(self._settings, self._context["ti"].dag_id, began=self._owns)))

    def _end(self, error: Exception) -> None:
        if self.error:
            return
        self.error = error
        # First: who unwinds dbt waits for its statements.
        self._end_statements()
        raise EndedError(str(error))

    def _end_statements(self) -> None:
        if not self._owns:
            return
        try:
            self._end_sessions()
        except Exception as error:
            # Postgres notices by itself that their client is gone.
            log.warning("dbt's statements in PostgreSQL could not be cancelled (%s).", type(error).__name__)


def is_ending() -> bool:
    """Whether dbt is being ended: what it reports from now on is of no model."""
    return Ending.now is not None and Ending.now.error is not None


def raise_if_ending() -> None:
    """Goes on with the end that dbt, which catches everything, has swallowed."""
    if is_ending():
        raise EndedError


def seconds_left(context: Any, now: datetime | None = None) -> float | None:
    """How long the task may go on so that the run can still say why it ended; None for any time."""
    limits: list[float] = []
    task, dag, run = (context.get(name) for name in ("task", "dag", "dag_run"))
    if own := getattr(task, "execution_timeout", None):
        limits.append(own.total_seconds() - _margin(own.total_seconds()))
    whole, began = getattr(dag, "dagrun_timeout", None), getattr(run, "start_date", None)
    if whole and began:
        passed = ((now or datetime.now(UTC)) - began).total_seconds()
        limits.append(whole.total_seconds() - _margin(whole.total_seconds()) - passed)
    return min(limits, default=None)


def _margin(seconds: float) -> float:
    return max(_LEAST_S, min(_MOST_S, seconds * _PART))
