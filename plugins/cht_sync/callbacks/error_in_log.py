"""The last line of a task's log: the sentence of an error that a person can act on, in place of a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg2
import structlog
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowTaskTimeout

from cht_sync.errors import ExpectedError
from cht_sync.redaction import cleaned, of_error, of_ours
from cht_sync.settings.settings import Settings
from cht_sync.settings.time_limits import remedy

if TYPE_CHECKING:
    from airflow.sdk import Context

# What Airflow's task runner logs of a failed task, and what it logs behind that, which would make an empty group.
# Source: ``_run_task_and_map_outcome`` and ``finalize`` in ``airflow/sdk/execution_time/task_runner.py``.
FAILED = "Task failed with exception"
MARKS = {"::group::Post Execute", "::endgroup::"}
_TIMEOUTS = (AirflowTaskTimeout, AirflowSensorTimeout)


class LastLine:
    """A processor of structlog that turns Airflow's record of an expected error into its sentence.

    Airflow prints a traceback for every exception, ``AirflowFailException`` included, and no setting of a DAG or a
    task takes it away. An unexpected error keeps it: of a fault in the code the traceback is what helps. What the
    errors in it say may come from a document and is taken out; who else gets them, as OpenLineage does, sees the same.
    """

    def __init__(self) -> None:
        self._context: Context | None = None
        self._told = False

    def begin(self, context: Context) -> None:
        """Looks at what this process logs from now on."""
        self._context, self._told = context, False
        # Into the list itself, as ``structlog.testing.capture_logs`` does: loggers that were used already hold it.
        processors = structlog.get_config()["processors"]
        if self not in processors:
            processors.insert(0, self)
        for handler in logging.root.handlers:
            handler.addFilter(_clean)

    def __call__(self, _logger: Any, _method: str, event: Any) -> Any:
        """Looks at one record."""
        text = event.get("event")
        if self._told and text in MARKS:
            raise structlog.DropEvent
        error = _logged(event.get("exc_info"))
        if error is None or self._context is None:
            return event
        if not cleaned(error):
            event["exc_info"], event["event"] = None, f"{text} ({type(error).__name__})"
        if text != FAILED:
            return event
        said = text_of_expected(error, getattr(self._context["ti"], "dag_id", ""))
        if said is None:
            return event
        self._told = True
        event.pop("exc_info")
        end = "" if said.endswith((".", "!", "?", "…")) else "."
        event["event"] = f"{said}{end} {outlook(error, self._context)}"
        return event


def _logged(exc_info: Any) -> BaseException | None:
    """The exception that a record is about, however it was given."""
    if isinstance(exc_info, tuple):
        return exc_info[1]
    return exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1] if exc_info else None


def _clean(record: logging.LogRecord) -> bool:
    """Takes values out of the exception of a record that does not come from structlog."""
    if record.exc_info and record.exc_info[1] and not cleaned(record.exc_info[1]):
        record.exc_info = None
    return True


def text_of_expected(error: BaseException, dag_id: str = "") -> str | None:
    """What a person can act on, on one line; None for an error that nobody expects."""
    if isinstance(error, _TIMEOUTS):
        return (
            f"The task took longer than it may ({of_ours(str(error))}): look above for what it waits for, or"
            f" {remedy(Settings(), dag_id)}."
        )
    if _is_of_dbt(error):
        return of_ours(str(error))
    if isinstance(error, (ExpectedError, AirflowFailException)):
        text = str(error)
        return of_ours(text) if getattr(error, "quotes", False) else " ".join(text.split())
    return None


def text_to_store(error: BaseException | str | None, dag_id: str = "") -> str:
    """What may be stored of an error: no value of a document, also of errors that nobody expects.

    :param error: what ended a task; None where that is not known.
    """
    if error is None:
        return (
            "It failed and could not note why: its process was killed, ran out of memory or was lost, or PostgreSQL"
            " did not answer. The last line of its log says more."
        )
    if isinstance(error, str):
        return " ".join(error.split())
    said = text_of_expected(error, dag_id)
    if said is not None:
        return said
    name = f"Postgres says {of_error(error)}" if isinstance(error, psycopg2.Error) else type(error).__name__
    return f"An error that is not expected, {name}: the log of the task has its traceback."


@contextmanager
def silence() -> Iterator[None]:
    """No more than errors is logged meanwhile, so that the last line of a log stays the last."""
    before = logging.root.manager.disable
    logging.disable(max(before, logging.WARNING))
    try:
        yield
    finally:
        logging.disable(before)


def is_tried_again(error: BaseException | str | None, context: Context) -> bool:
    """Whether Airflow tries the task again in the same run."""
    ti = context["ti"]
    # Source: ``_is_eligible_to_retry`` in ``airflow/api_fastapi/execution_api/routes/task_instances.py``.
    return not isinstance(error, (AirflowFailException, AirflowSensorTimeout)) and 0 < ti.try_number <= ti.max_tries


def outlook(error: BaseException, context: Context) -> str:
    """A sentence that says whether the task is tried again."""
    ti = context["ti"]
    tries = f"try {ti.try_number} of {max(ti.max_tries + 1, ti.try_number)}"
    if is_tried_again(error, context):
        return f"Airflow tries it again {_in(context['task'].retry_delay)} ({tries})."
    return f"Airflow does not try it again in this run ({tries})."


def _in(delay: Any) -> str:
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay or 0)
    return f"in {seconds:.0f} s" if seconds < 120 else f"in {seconds / 60:.0f} minutes"


def _is_of_dbt(error: BaseException) -> bool:
    """Whether Cosmos raises it for dbt; told by its name, because importing Cosmos takes a second."""
    return type(error).__module__ == "cosmos.exceptions" and type(error).__name__ == "CosmosDbtRunError"


LAST_LINE = LastLine()
