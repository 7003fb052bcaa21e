"""How far the models of a run have come, once all of them have ended well: by dbt, or by a retry of their tasks."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cht_sync.dbt.tables.model_results import ModelResults
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.task_errors import TaskErrors

log = logging.getLogger(__name__)

# What the task that runs dbt hands on: the stamp that all models have come to, and the one that they have come to if
# the tasks of those that failed have made them good since.
MODELLED_TO, WITHIN_REACH = "modelled_to", "within_reach"
RUN_ALL_TASK_ID, RESULT_TASK_ID = "dbt_run", "result"
_ENDED = {"success", "failed", "upstream_failed"}


def stamps(ti: Any, models_group: str, states: Mapping[str, str]) -> list[str]:
    """The stamp that each group of models has reached, empty for one that did not run all; of watcher mode alone."""
    dbt = re.compile(rf"{re.escape(models_group)}\.(?:.+\.)?{RUN_ALL_TASK_ID}")
    return [_stamp(ti, name, states) for name in states if dbt.fullmatch(name)]


def _stamp(ti: Any, task_id: str, states: Mapping[str, str]) -> str:
    reached = ti.xcom_pull(task_ids=task_id, key=MODELLED_TO)
    group = task_id.rpartition(".")[0]
    if not reached and all(state == "success" for name, state in states.items() if name.rpartition(".")[0] == group):
        reached = ti.xcom_pull(task_ids=task_id, key=WITHIN_REACH)
    return reached or ""


def note_alone(context: Any) -> None:
    """Notes a good end of the models that the last task of their run does not see any more.

    Where this task was cleared by itself, that one has ended before. What cannot be noted fails nothing: the
    next run of the models notes it.

    :param context: of a task of the models, which has ended well.
    """
    try:
        _note_alone(context)
    except Exception as error:
        log.warning("That the models have ended well could not be noted (%s): %s", type(error).__name__, error)


def _note_alone(context: Any) -> None:
    ti = context["ti"]
    states = dict(ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {}))
    states[str(ti.task_id)] = "success"
    models_group = str(ti.task_id).partition(".")[0]
    own = [state for name, state in states.items() if name.startswith(f"{models_group}.")]
    work = ti.xcom_pull(task_ids="new_documents") if states.get(RESULT_TASK_ID) in _ENDED else None
    if not work:
        return
    settings, reached_by_group = Settings(), stamps(ti, models_group, states)
    # Where dbt has run all models, it does not matter what their tasks have seen of an earlier try.
    if not (all(reached_by_group) if reached_by_group else all(state == "success" for state in own)):
        return
    connection, raw = postgres_connection(settings), settings.raw_table
    ago = datetime.now(UTC) - datetime.fromisoformat(work["began"])
    if ModelResults(connection, raw, settings.dbt_schema).troubles(ago.total_seconds()):
        return
    reached = datetime.fromisoformat(min(reached_by_group) if reached_by_group else work["newest"])
    runs = ModelRuns(connection, raw, settings.dbt_schema, settings.dbt_selector)
    before = runs.state().modelled_to
    if before is None or before < reached:
        runs.record(reached, work["deployment"])
        log.info("All models of this run have ended well by now: they have seen the documents up to %s UTC.", reached)
    TaskErrors(connection, raw).forget_group(ti.dag_id, models_group)
