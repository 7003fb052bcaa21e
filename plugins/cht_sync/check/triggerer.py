"""Whether somebody waits for changes where runs are to be started by them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

from cht_sync.check.finding import Finding, failed, ok, warning
from cht_sync.settings.settings import Settings

LATE = timedelta(minutes=2)


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
    at = (newest or _newest)()
    if at and datetime.now(UTC) - at < LATE:
        yield ok(subject, f"waits for changes (CHT_SYNC_MODE={mode}).")
    else:
        yield failed(
            subject, f"does not run, and CHT_SYNC_MODE={mode} needs it: start `airflow triggerer`, or use 'schedule'."
        )


def _newest() -> datetime | None:
    from airflow.jobs.job import Job
    from airflow.utils.session import create_session
    from sqlalchemy import func, select

    with create_session() as session:
        return session.scalar(
            select(func.max(Job.latest_heartbeat)).where(Job.job_type == "TriggererJob", Job.state == "running")
        )
