"""What Airflow knows of the DAG ``cht_sync``: its newest runs and their tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select

from cht_sync.web.access import DAG_ID
from cht_sync.web.answers import Dag, Run, Task

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

SYNC_TASK, FAILED = "sync", ("failed", "upstream_failed")
ENDED = (*FAILED, "success")
RUNNING = ("running", "up_for_retry", "deferred")
RUNS = 5
FAILED_SHOWN = 10


def read_dag(session: Session) -> tuple[Dag, dict[str, Task]]:
    """The DAG with its newest run, and for each source the newest task that has ended or is at work.

    :param session: of Airflow's database.
    """
    model = session.execute(
        select(DagModel.is_paused, DagModel.next_dagrun_create_after).where(DagModel.dag_id == DAG_ID)
    ).first()
    runs = session.execute(
        select(DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date)
        .where(DagRun.dag_id == DAG_ID)
        .order_by(DagRun.run_after.desc(), DagRun.id.desc())
        .limit(RUNS)
    ).all()
    tasks = _tasks(session, [run.run_id for run in runs])
    dag = Dag(
        exists=model is not None,
        paused=bool(model and model.is_paused),
        next_run_at=model.next_dagrun_create_after if model else None,
        run=_run(runs[0], tasks) if runs else None,
        succeeded_lately=any(str(run.state) == "success" for run in runs),
    )
    return dag, _of_sources([run.run_id for run in runs], tasks)


def _tasks(session: Session, run_ids: list[str]) -> list[Any]:
    columns = (
        TaskInstance.run_id,
        TaskInstance.task_id,
        TaskInstance.map_index,
        TaskInstance._rendered_map_index.label("rendered"),
        TaskInstance.state,
    )
    return list(
        session.execute(
            select(*columns)
            .where(TaskInstance.dag_id == DAG_ID, TaskInstance.run_id.in_(run_ids))
            .order_by(TaskInstance.task_id, TaskInstance.map_index)
        ).all()
    )


def _run(run: Any, tasks: list[Any]) -> Run:
    failed = [task for task in tasks if task.run_id == run.run_id and task.state == "failed"]
    return Run(
        run_id=run.run_id,
        state=str(run.state),
        started_at=run.start_date,
        ended_at=run.end_date,
        link=_run_link(run.run_id),
        failed=[_task(each) for each in failed[:FAILED_SHOWN]],
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


def _task(task: Any) -> Task:
    name = f"{task.task_id} ({task.rendered})" if task.rendered else task.task_id
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    link = f"{_run_link(task.run_id)}/tasks/{quote(task.task_id, safe='')}{mapped}"
    return Task(name=name, state=task.state, link=link)


def _run_link(run_id: str) -> str:
    """Of Airflow's UI, relative to its root. Source: routes of ``airflow/ui/src/router.tsx``."""
    return f"dags/{DAG_ID}/runs/{quote(run_id, safe='')}"
