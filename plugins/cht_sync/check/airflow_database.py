"""What Airflow's database tells: whether it can be read, which DAGs are paused, whether a triggerer runs."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from cht_sync.check.finding import Finding, failed, ok, warning
from cht_sync.settings.settings import Settings

REMEDY = "connections made in the UI are not looked at; run this where the scheduler runs"
UNPAUSE = "airflow dags unpause --yes --treat-dag-id-as-regex '^cht_'"
# Those that are there whatever the settings say. One that they do not bring is not paused either.
ALWAYS = ("cht_sync", "cht_pipeline_deploy", "cht_reconcile", "cht_data_tests")
MEANS = {
    "cht_sync": "nothing is copied, and without CHT_MODELS=asset nothing is modelled",
    "cht_pipeline_deploy": "no new version of the dbt project is deployed",
    "cht_reconcile": "nobody proves every night that the copy is complete",
    "cht_data_tests": "no data test runs, and no documentation of the models is published",
    "cht_models": "nothing is modelled",
    "cht_snapshots": "what changes in the models is kept by no snapshot",
    "cht_alerts": "nobody is told when something goes wrong",
    "cht_weekly_report": "no report is written",
}
LATE = timedelta(minutes=2)


def check_airflow_database() -> Iterator[Finding]:
    """One finding about Airflow's database; where it answers, the checks that follow read connections from it.

    A task is told its connections by the API server; a command line has to read them itself. Only this process does.
    Source: ``ensure_secrets_backend_loaded`` in ``airflow/sdk/execution_time/supervisor.py``.
    """
    subject = "Airflow's database"
    if (file := _sqlite_file()) and not file.exists():
        yield warning(subject, f"{file} does not exist: {REMEDY}, after `airflow db migrate`.")
        return
    try:
        count = _connections()
    except Exception as error:
        # Only its kind: the text would show the address, which holds a password.
        yield warning(subject, f"cannot be read ({type(error).__name__}): {REMEDY}, after `airflow db migrate`.")
        return
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    yield ok(subject, f"answers, and holds {count} connections.")


def use_airflows_connections() -> None:
    """Lets this process read connections that were made in Airflow's UI, where Airflow's database answers."""
    deque(check_airflow_database(), maxlen=0)


def _sqlite_file() -> Path | None:
    """The file that a look would make."""
    from airflow.configuration import conf

    url = conf.get("database", "sql_alchemy_conn", fallback="")
    return Path(urlsplit(url).path[1:]) if url.startswith("sqlite:///") else None


def _connections() -> int:
    from airflow.utils.session import create_session
    from sqlalchemy import text

    with create_session() as session:
        return session.execute(text("select count(*) from connection")).scalar_one()


def check_paused(paused: Mapping[str, bool] | None = None) -> Iterator[Finding]:
    """A finding for each DAG that is paused, behind that about Airflow's database.

    :param paused: whether, by DAG; by default what Airflow's database holds.
    """
    if paused is None:
        if os.environ.get("_AIRFLOW_PROCESS_CONTEXT") != "server":
            return
        try:
            paused = _paused()
        except Exception as error:  # no run fails of it
            yield warning("DAGs", f"whether they are paused cannot be read ({type(error).__name__}).")
            return
    known = {dag: paused[dag] for dag in MEANS if dag in paused}
    for dag, is_paused in known.items():
        if is_paused:
            yield warning(f"DAG {dag}", f"is paused: {MEANS[dag]}. Unpause it, or all: {UNPAUSE}")
    if unread := [dag for dag in ALWAYS if dag not in known]:
        yield warning(
            "DAGs",
            f"Airflow has not read {', '.join(unread)} yet: one that is new to it is paused until somebody unpauses it."
            " Where that stays so, look at the import errors on its home page, and whether the DAG processor runs.",
        )
    elif not any(known.values()):
        yield ok("DAGs", f"none of {len(known)} is paused.")


def _paused() -> dict[str, bool]:
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        # A DAG whose file is gone, or is not brought by the settings any more, keeps its row.
        rows = session.execute(select(DagModel.dag_id, DagModel.is_paused).where(~DagModel.is_stale))
        return {dag: is_paused for dag, is_paused in rows if dag in MEANS}


def check_triggerer(settings: Settings, newest: Callable[[], datetime | None] | None = None) -> Iterator[Finding]:
    """One finding about Airflow's triggerer, where ``CHT_SYNC_MODE`` needs one; behind that about Airflow's database.

    :param newest: gives the newest heartbeat of a triggerer; by default that of Airflow's database.
    """
    subject, mode = "Triggerer", settings.sync_mode
    if mode == "schedule":
        return
    if newest is None and os.environ.get("_AIRFLOW_PROCESS_CONTEXT") != "server":
        yield warning(subject, "is not known without Airflow's database.")
        return
    at = (newest or _newest_heartbeat)()
    if at and datetime.now(UTC) - at < LATE:
        yield ok(subject, f"waits for changes (CHT_SYNC_MODE={mode}).")
    else:
        yield failed(
            subject, f"does not run, and CHT_SYNC_MODE={mode} needs it: start `airflow triggerer`, or use 'schedule'."
        )


def _newest_heartbeat() -> datetime | None:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        return session.scalar(
            select(func.max(Job.latest_heartbeat)).where(Job.job_type == "TriggererJob", Job.state == "running")
        )
