"""What Airflow knows of the DAG ``cht_sync``: its newest runs and their tasks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.jobs.job import Job
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.models.trigger import Trigger
from sqlalchemy import func, select

from cht_sync.errors import SettingsError
from cht_sync.monitoring.airflow_state import Dag, Run, Task, TaskError
from cht_sync.monitoring.paused_dags import read_paused
from cht_sync.monitoring.web.access import DAG_ID
from cht_sync.settings.settings import Settings

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SYNC_TASK, FAILED = "sync", ("failed", "upstream_failed")
ENDED = (*FAILED, "success")
RUN_ENDED = ("failed", "success")
RUNNING = ("running", "up_for_retry", "deferred")
TRIED = ("failed", "up_for_retry")
RUNS = 5
FAILED_SHOWN = 10


def read_dag(session: Session) -> tuple[Dag, dict[str, Task]]:
    """The DAG with its newest run, and for each source the newest task that has ended or is at work."""
    model = session.execute(
        select(DagModel.is_paused, DagModel.next_dagrun_create_after).where(DagModel.dag_id == DAG_ID)
    ).first()
    runs = _newest_runs(session, DAG_ID, RUNS)
    tasks = _tasks(session, [run.run_id for run in runs])
    seen = _seen(session)
    last = next((run for run in runs if str(run.state) in RUN_ENDED), None)
    dag = Dag(
        exists=model is not None,
        paused=bool(model and model.is_paused),
        next_run_at=model.next_dagrun_create_after if model else None,
        run=_run(runs[0], tasks) if runs else None,
        ended=_run(last, tasks) if last else None,
        others_paused=[dag_id for dag_id, paused in read_paused(session).items() if paused and dag_id != DAG_ID],
        **_of_models(session),
        succeeded_lately=any(str(run.state) == "success" for run in runs),
        scheduler_seen_at=seen.get("SchedulerJob"),
        triggerer_seen_at=seen.get("TriggererJob"),
        needs_triggerer=session.execute(select(Trigger.id).limit(1)).first() is not None,
    )
    found = _of_sources([run.run_id for run in runs], tasks)
    if runs:
        for each, since in _retrying(session, runs[0].run_id, tasks):
            ended = found.get(each.rendered)
            # How it ended before still counts; but the try that failed is the one whose log is meant.
            state = ended.state if ended and ended.state in FAILED else each.state
            found[each.rendered] = _task(each).model_copy(update={"state": state, "retrying_since": since})
    return dag, found


def _of_models(session: Session) -> dict[str, Any]:
    """What is known of the DAG that runs the models, where that is another one."""
    try:
        dag_id = Settings().models_dag
    except SettingsError:  # the task sources tells of it
        return {}
    if dag_id == DAG_ID:
        return {}
    paused = session.execute(select(DagModel.is_paused).where(DagModel.dag_id == dag_id)).scalar()
    runs = _newest_runs(session, dag_id, 1, DagRun.state.in_(RUN_ENDED))
    ended = [_run(run, _tasks(session, [run.run_id], dag_id), dag_id) for run in runs]
    return {"models_paused": bool(paused), "models_ended": ended[0] if ended else None}


def _newest_runs(session: Session, dag_id: str, most: int, *where: Any) -> Sequence[Any]:
    return session.execute(
        select(DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date)
        .where(DagRun.dag_id == dag_id, *where)
        .order_by(DagRun.run_after.desc(), DagRun.id.desc())
        .limit(most)
    ).all()


def with_link(session: Session, error: TaskError) -> TaskError:
    """The error of a task with the way to the newest instance of it."""
    about = (TaskInstance.dag_id == error.dag_id, TaskInstance.task_id == error.task_id)
    # Of a model the task is meant, of a source one of several.
    mapped = (TaskInstance._rendered_map_index == error.subject, TaskInstance.state.in_((*TRIED, *RUNNING)))
    for wanted in (mapped, (TaskInstance.state.in_((*TRIED, *RUNNING)),)):
        newest = session.execute(
            select(TaskInstance.run_id, TaskInstance.map_index)
            .join(DagRun, (DagRun.dag_id == TaskInstance.dag_id) & (DagRun.run_id == TaskInstance.run_id))
            .where(*about, *wanted)
            .order_by(DagRun.run_after.desc(), TaskInstance.map_index)
            .limit(1)
        ).first()
        if newest:
            link = _task_link(error.dag_id, newest.run_id, error.task_id, newest.map_index)
            return error.model_copy(update={"link": link})
    return error.model_copy(
        update={"link": f"dags/{quote(error.dag_id, safe='')}/tasks/{quote(error.task_id, safe='')}"}
    )


def _seen(session: Session) -> dict[str, datetime]:
    """The newest sign of life of each kind of Airflow's processes."""
    found = session.execute(select(Job.job_type, func.max(Job.latest_heartbeat)).group_by(Job.job_type)).all()
    return {kind: at for kind, at in found if kind and at}


def _retrying(session: Session, run_id: str, tasks: list[Any]) -> list[tuple[Any, datetime]]:
    """Tasks of sources whose first try in the newest run failed and that are tried again, and since when."""
    of_task = (TaskInstanceHistory.dag_id == DAG_ID, TaskInstanceHistory.task_id == SYNC_TASK)
    failed = session.execute(
        select(TaskInstanceHistory.map_index, func.min(TaskInstanceHistory.end_date))
        .where(*of_task, TaskInstanceHistory.run_id == run_id, TaskInstanceHistory.state.in_(TRIED))
        .group_by(TaskInstanceHistory.map_index)
    ).all()
    first = {each[0]: each[1] for each in failed}
    found = []
    for each in tasks:
        if each.run_id == run_id and each.task_id == SYNC_TASK and each.rendered and each.state not in ENDED:
            since = first.get(each.map_index) or (each.end_date if each.state == "up_for_retry" else None)
            if since:
                found.append((each, since))
    return found


def _tasks(session: Session, run_ids: list[str], dag_id: str = DAG_ID) -> list[Any]:
    columns = (
        TaskInstance.run_id,
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance._rendered_map_index.label("rendered"),
        TaskInstance.state,
        TaskInstance.end_date,
    )
    return list(
        session.execute(
            select(*columns)
            .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id.in_(run_ids))
            .order_by(TaskInstance.task_id, TaskInstance.map_index)
        ).all()
    )


def _run(run: Any, tasks: list[Any], dag_id: str = DAG_ID) -> Run:
    failed = [task for task in tasks if task.run_id == run.run_id and task.state == "failed"]
    return Run(
        run_id=run.run_id,
        state=str(run.state),
        started_at=run.start_date,
        ended_at=run.end_date,
        link=_run_link(run.run_id, dag_id),
        failed=[_task(each, dag_id) for each in failed[:FAILED_SHOWN]],
    )


def _of_sources(run_ids: list[str], tasks: list[Any]) -> dict[str, Task]:
    found: dict[str, Task] = {}
    # How a task ended tells more than that another one is at work; before the first end that has to do.
    for states in (ENDED, RUNNING):
        for run_id in run_ids:
            for each in tasks:
                if each.run_id == run_id and each.task_id == SYNC_TASK and each.rendered and each.state in states:
                    found.setdefault(each.rendered, _task(each))
    return found


def _task(task: Any, dag_id: str = DAG_ID) -> Task:
    name = f"{task.task_id} ({task.rendered})" if task.rendered else task.task_id
    return Task(name=name, state=task.state, link=_task_link(dag_id, task.run_id, task.task_id, task.map_index))


def _task_link(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    mapped = f"/mapped/{map_index}" if map_index >= 0 else ""
    return f"{_run_link(run_id, dag_id)}/tasks/{quote(task_id, safe='')}{mapped}"


def _run_link(run_id: str, dag_id: str = DAG_ID) -> str:
    """Of Airflow's UI, relative to its root. Source: routes of ``airflow/ui/src/router.tsx``."""
    return f"dags/{quote(dag_id, safe='')}/runs/{quote(run_id, safe='')}"
