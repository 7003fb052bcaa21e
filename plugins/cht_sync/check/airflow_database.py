"""Whether connections that were made in Airflow's UI can be read by the check."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cht_sync.check.finding import Finding, ok, warning

REMEDY = "connections made in the UI are not looked at; run this where the scheduler runs"


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
