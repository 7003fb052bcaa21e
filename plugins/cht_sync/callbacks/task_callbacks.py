"""What each task of this project does when it begins, fails or succeeds: ``default_args`` of the DAGs."""

from __future__ import annotations

import atexit
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk.log import redact

from cht_sync.callbacks.error_in_log import LAST_LINE, is_tried_again, silence, text_to_store
from cht_sync.common.concurrency import Background
from cht_sync.redaction import without_secrets
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.settings.time_limits import run_time_limit_text
from cht_sync.store.task_errors import Failure, TaskErrors

if TYPE_CHECKING:
    from airflow.sdk import Context

log = logging.getLogger(__name__)
PATIENCE_S = 5.0
WHY = "why_it_failed"
# The task that names what the instances of a mapped one work on.
_MAPPED_OVER = {"sync": "sources", "compare": "plan", "beside": "plan_beside"}


def begin(context: Context) -> None:
    """Makes the sentence of an expected error the last line of the log; Airflow's ``on_execute_callback``."""
    LAST_LINE.begin(context)
    atexit.unregister(_release_locks)
    atexit.register(_release_locks)


def _release_locks() -> None:
    """Gives back locks that dbt has made: what tracks them would complain on stderr, behind the last line.

    ``multiprocessing`` does it at the end of a process, save of one that was forked by Airflow, which forgets that.
    """
    if finalizers := getattr(sys.modules.get("multiprocessing.util"), "_run_finalizers", None):
        finalizers(0)


def failed(context: Context) -> None:
    """Keeps why the task failed; Airflow's ``on_failure_callback`` and ``on_retry_callback``.

    Where the process of a task was lost, Airflow's DAG processor calls it.
    """
    error, ti = context.get("exception"), context["ti"]
    message = without_secrets(str(redact(text_to_store(error, ti.dag_id))), ())
    works_on, again = subject(context["task"]), is_tried_again(error, context)
    failure = Failure(ti.dag_id, ti.task_id, works_on, message, str(ti.run_id), _number(ti), again)
    noted: list[bool] = []
    _write(lambda errors: noted.append(errors.record(failure)))
    if any(noted):
        return
    try:
        with silence():
            ti.xcom_push(key=WHY, value=message)  # for the last task of the run
    except Exception as fault:
        log.debug("Why a task failed could not be handed over (%s).", type(fault).__name__)


def succeeded(context: Context) -> None:
    """Drops what is known of failures of the task; Airflow's ``on_success_callback``."""
    ti = context["ti"]
    _write(lambda errors: errors.forget(ti.dag_id, ti.task_id, subject(context["task"])))


def succeeded_at_last(context: Context) -> None:
    """The same for one of very many tasks, of which only those that failed in this run look themselves.

    The last task of the run looks for all others.
    """
    if context["ti"].try_number > 1:
        succeeded(context)


def run_failed(context: Context) -> None:
    """Ends what is known of earlier runs too; ``on_failure_callback`` of the last task of a run."""
    failed(context)
    _end_run(context)


def run_succeeded(context: Context) -> None:
    """Ends what is known of earlier runs too; ``on_success_callback`` of the last task of a run."""
    succeeded(context)
    _end_run(context)


def run_ended_early(context: Context) -> None:
    """Keeps why Airflow has ended a run at its time limit, which no task can; ``on_failure_callback`` of the DAG.

    Airflow's DAG processor calls it, for a run that failed in another way too.

    :param context: Airflow's; without a task instance where Airflow knows none that was at work.
    """
    if context.get("reason") != "timed_out":
        return
    dag_id, ti = context["dag"].dag_id, context.get("ti")
    task_id, number = (ti.task_id, _number(ti)) if ti else ("", -1)
    works_on = subject(context.get("task")) if number < 0 else ""
    message = run_time_limit_text(Settings(), dag_id, task_id)
    failure = Failure(dag_id, task_id or "run", works_on, message, str(context["run_id"]), number)
    _write(lambda errors: errors.record(failure))


def forget_failures(dag_id: str) -> None:
    """Drops all that is known of failures of a DAG."""
    _write(lambda errors: errors.forget_dag(dag_id))


TOLD: dict[str, Any] = {
    "on_execute_callback": begin,
    "on_failure_callback": failed,
    "on_retry_callback": failed,
    "on_success_callback": succeeded,
}
LAST_TASK: dict[str, Any] = {"on_failure_callback": run_failed, "on_success_callback": run_succeeded}


def subject(task: Any) -> str:
    """What a task works on: its ``subject``, where it has one."""
    return str(getattr(task, "subject", "") or "")


def _number(ti: Any) -> int:
    return -1 if ti.map_index is None else ti.map_index


def _end_run(context: Context) -> None:
    ti = context["ti"]
    try:
        with silence():
            states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
            failures = list(_failures(context, states))
    except Exception as error:
        log.debug("The states of the run are not known (%s).", type(error).__name__)
        return

    def write(errors: TaskErrors) -> None:
        noted = errors.end_run(ti.dag_id, str(ti.run_id), states)
        for one in failures:
            if (one.task_id, one.map_index) not in noted:
                errors.record(one)

    if states:
        _write(write)


def _failures(context: Context, states: Mapping[str, str]) -> Iterator[Failure]:
    """What is to be noted of each task of a run that failed, if it could not do that by itself."""
    ti, dag = context["ti"], context["dag"]
    for name in sorted(name for name, state in states.items() if state == "failed" and name != ti.task_id):
        if name in dag.task_ids:
            task_id, number, works_on = name, -1, subject(dag.get_task(name))
        else:
            task_id, _, text = name.rpartition("_")
            number, mapped_over = int(text), ti.xcom_pull(task_ids=_MAPPED_OVER.get(task_id, "")) or []
            works_on = str(mapped_over[number]["source"]) if number < len(mapped_over) else text
        said = ti.xcom_pull(task_ids=task_id, key=WHY, map_indexes=number)
        yield Failure(ti.dag_id, task_id, works_on, str(said or text_to_store(None)), str(ti.run_id), number)


def _write(what: Callable[[TaskErrors], object]) -> None:
    """Writes, if that is possible within a few seconds: it must not fail or hold up the task that it is about."""
    try:
        with silence():
            settings = Settings()
            # Here, because only this thread may ask Airflow for a connection.
            errors = TaskErrors(postgres_connection(settings), settings.raw_table)
            Background(lambda: what(errors)).wait(PATIENCE_S)
    except Exception as error:
        log.debug("Why a task failed could not be noted (%s).", type(error).__name__)
