"""Runs of the DAG ``cht_sync`` in Airflow's database, without a scheduler."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

from airflow.jobs.job import Job
from airflow.models.dag import DagModel
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.models.trigger import Trigger
from sqlalchemy import delete, insert
from sqlalchemy.orm import Session

TABLES = (TaskInstanceHistory, TaskInstance, DagRun, DagModel, DagBundleModel, Job, Trigger)
TRIED_AGO = timedelta(seconds=90)


def set_runs(
    engine,
    states=None,
    paused=False,
    others_paused=(),
    due=timedelta(minutes=1),
    sources="success",
    ended=True,
    tried=(),
    seen=None,
    triggers=0,
    before=None,
    models=None,
):
    """What a scheduler would have left: a run every minute until now.

    :param engine: of Airflow's database.
    :param states: of the task `sync` in the newest run, by source; None for a DAG that never ran.
    :param sources: state of the task before.
    :param others_paused: other DAGs that are paused.
    :param ended: whether the run has.
    :param tried: sources whose first try failed ``TRIED_AGO``.
    :param seen: how long ago each kind of Airflow's processes gave a sign of life.
    :param triggers: how many wait for a triggerer.
    :param before: state of the run before the newest, in which ``models.dbt_run`` ended so; None for no such run.
    :param models: the same of a run of ``cht_models``.
    """
    now = datetime.now(UTC)
    with Session(engine) as session, session.begin():
        for model in TABLES:
            session.execute(delete(model))
        session.execute(insert(DagBundleModel).values(name="dags-folder"))
        session.execute(
            insert(DagModel).values(
                dag_id="cht_sync", bundle_name="dags-folder", is_paused=paused, max_active_tasks=16,
                max_consecutive_failed_dag_runs=0, has_task_concurrency_limits=False, timetable_type="",
                next_dagrun_create_after=now + due,
            )
        )  # fmt: skip
        for dag_id in others_paused:
            session.execute(
                insert(DagModel).values(
                    dag_id=dag_id, bundle_name="dags-folder", is_paused=True, is_stale=False, max_active_tasks=16,
                    max_consecutive_failed_dag_runs=0, has_task_concurrency_limits=False, timetable_type="",
                )
            )  # fmt: skip
        for kind, ago in (seen or {}).items():
            session.execute(insert(Job).values(job_type=kind, state="running", latest_heartbeat=now - ago))
        for _ in range(triggers):
            session.execute(insert(Trigger).values(classpath="x", kwargs="{}", created_date=now))
        if states is None:
            return
        for dag_id, each in (("cht_sync", before), ("cht_models", models)):
            if each:
                _add_run(session, dag_id, each, now - timedelta(minutes=1))
        tasks = [("sources", -1, None, sources)]
        tasks += [("sync", number, source, state) for number, (source, state) in enumerate(states.items())]
        state = "running" if not ended else "failed" if any(state == "failed" for *_, state in tasks) else "success"
        run_id = f"scheduled__{now:%Y-%m-%dT%H:%M}:00+00:00"
        session.execute(
            insert(DagRun).values(
                dag_id="cht_sync", run_id=run_id, run_type="scheduled", state=state,
                start_date=now - timedelta(seconds=40), end_date=now - timedelta(seconds=20), run_after=now,
                clear_number=0,
            )
        )  # fmt: skip
        for task_id, map_index, source, state in tasks:
            session.execute(
                insert(TaskInstance.__table__).values(
                    id=uuid.uuid4(), task_id=task_id, dag_id="cht_sync", run_id=run_id, map_index=map_index,
                    rendered_map_index=source, state=state, pool="default_pool", try_number=2, max_tries=1,
                    pool_slots=1, operator="x", queue="default", priority_weight=1,
                    end_date=now - timedelta(seconds=30) if state in {"failed", "up_for_retry"} else None,
                )
            )  # fmt: skip
            if source in tried:
                session.execute(
                    insert(TaskInstanceHistory).values(
                        task_instance_id=uuid.uuid4(), task_id=task_id, dag_id="cht_sync", run_id=run_id,
                        map_index=map_index, try_number=1, state="failed", end_date=now - TRIED_AGO, pool="default_pool",
                        pool_slots=1,
                    )
                )  # fmt: skip


def _add_run(session, dag_id, state, at):
    run_id = f"scheduled__{at:%Y-%m-%dT%H:%M}:00+00:00"
    session.execute(
        insert(DagRun).values(
            dag_id=dag_id, run_id=run_id, run_type="scheduled", state=state, start_date=at, end_date=at, run_after=at,
            clear_number=0,
        )
    )  # fmt: skip
    session.execute(
        insert(TaskInstance.__table__).values(
            id=uuid.uuid4(), task_id="models.dbt_run", dag_id=dag_id, run_id=run_id, map_index=-1, state=state,
            pool="default_pool", try_number=1, max_tries=1, pool_slots=1, operator="x", queue="default",
            priority_weight=1, end_date=at,
        )
    )  # fmt: skip
