"""Whatever ends dbt, nothing of it goes on in PostgreSQL, and the log says which setting to change."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from types import SimpleNamespace

import psycopg2
import pytest

from cht_sync.dbt.launch.profile import ModelsProfile, profile_text
from cht_sync.dbt.launch.sessions import end_sessions, session_name
from cht_sync.dbt.run import ending
from cht_sync.dbt.run.ending import Ending
from cht_sync.errors import OutOfTimeError, StoppedError
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings
from tests.integration.dbt.conftest import write_project

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module", autouse=True)
def quick_dbt():
    """A dbt that was started anew can be killed too."""


AT_WORK = (
    "select count(*) from pg_stat_activity where datname = current_database() and state = 'active'"
    f" and application_name = '{session_name('v1')}' and query like '%pg_sleep(300)%'"
)
RUN = """
import signal, sys
from types import SimpleNamespace
from functools import partial
from cht_sync.settings.connections import dbt_connection
from cht_sync.postgres.keepalive import end_with_process
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.launch.sessions import end_sessions, session_name
from cht_sync.dbt.run.ending import Ending
from cht_sync.settings.settings import Settings
import os
folder, connection = sys.argv[1], dbt_connection()
end_with_process(session_name("v1"))
context = {"ti": SimpleNamespace(dag_id="cht_sync")}
limit = Ending(Settings(), context, partial(end_sessions, connection, "v1", 2.0))
signal.signal(signal.SIGTERM, lambda *_: limit.stop())
options = ["--project-dir", folder, "--profiles-dir", folder, "--profile", "cht_sync"]
dbt = DbtRunner(["dbt", "--quiet", "run", *options], dict(os.environ), folder)
with limit, limit.of_own():
    assert dbt.parse() is None
    dbt.run()
"""


@pytest.fixture
def slow(tmp_path, database, monkeypatch):
    """A project whose second model never ends, in a process of its own."""
    folder = write_project(tmp_path / "slow")
    (folder / "models" / "two.sql").write_text("{{ config(materialized='table') }} select pg_sleep(300)::text as a")
    (folder / "profiles.yml").write_text(profile_text(Settings()))
    environment = {
        **os.environ,
        "POSTGRES_TABLE": "couchdb",
        ModelsProfile.get_env_var_name("password"): dbt_connection().password or "",
        "PYTHONPATH": "plugins",
    }
    started = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RUN), str(folder)],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        wait_for(database, 1)
        return process

    start.folder, start.environment = folder, environment
    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(database, number, seconds=60.0):
    until = time.monotonic() + seconds
    while database.value(AT_WORK) != number:
        assert time.monotonic() < until, f"{number} statements at work"
        time.sleep(0.2)


def test_a_dbt_that_is_killed_leaves_no_statement(slow, database):
    process = slow()
    process.kill()
    wait_for(database, 0, seconds=20)


def test_a_dbt_that_is_told_to_end_cancels_its_statements(slow, database):
    """Airflow gives it five seconds, then it is killed."""
    process = slow()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=20)
    assert "StoppedError: Airflow ended this task" in said
    wait_for(database, 0, seconds=3)


def test_what_another_has_left_is_ended_by_whoever_comes_next(slow, database):
    with closing(psycopg2.connect(database.dsn, application_name=session_name("other"))) as stranger:
        stranger.cursor().execute("select 1")
        slow()
        assert end_sessions(dbt_connection(), "v1") == 1
        wait_for(database, 0, seconds=3)
        stranger.cursor().execute("select 1")
    assert end_sessions(dbt_connection(), "v1") == 0


def test_when_the_time_is_over_dbt_ends_with_the_setting_in_its_sentence(slow, database, monkeypatch):
    monkeypatch.setattr(ending, "seconds_left", lambda context: 4.0)
    context = {"ti": SimpleNamespace(dag_id="cht_sync")}
    before, left = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[0]
    limit = Ending(Settings({}), context, partial(end_sessions, dbt_connection(), "v1", 2.0))
    with closing(psycopg2.connect(database.dsn, application_name=session_name("v1"))) as conn:
        conn.cursor().execute("/* pg_sleep(300) */ select 1")
        with pytest.raises(OutOfTimeError) as raised:
            sleep_as_dbt_does(limit)
        with pytest.raises(psycopg2.OperationalError):
            conn.cursor().execute("select 1")
    assert "CHT_SYNC_TIMEOUT=120 minutes" in str(raised.value)
    assert "set CHT_MODELS=asset" in str(raised.value)
    assert signal.getsignal(signal.SIGALRM) is before
    again = signal.getitimer(signal.ITIMER_REAL)[0]
    assert (left == again == 0.0) or left - 30 < again < left, "whose time limit there was before has it again"


def sleep_as_dbt_does(limit):
    with limit, limit.of_own():
        try:
            time.sleep(60)
        except BaseException:  # dbt catches all
            assert ending.is_ending()


def test_a_task_that_is_ended_is_no_fault_of_its_models(database):
    limit = Ending(Settings({}), {"ti": SimpleNamespace(dag_id="cht_sync")}, lambda: None)

    def stop():
        with limit:
            with pytest.raises(ending.EndedError):
                limit.stop()
            assert ending.is_ending()

    with pytest.raises(StoppedError):
        stop()
    assert not ending.is_ending()


def test_who_waits_for_another_dbt_does_not_end_that_one(monkeypatch):
    monkeypatch.setattr(ending, "seconds_left", lambda context: 0.1)
    ended = []
    limit = Ending(Settings({}), {"ti": SimpleNamespace(dag_id="cht_sync")}, lambda: ended.append(True))

    def wait():
        with limit:
            time.sleep(10)

    with pytest.raises(OutOfTimeError, match="dbt did not begin in time.*: a run of cht_sync may take"):
        wait()
    assert ended == []


@pytest.mark.parametrize(
    ("minutes", "passed", "left"), [(120, 0, 118 * 60), (120, 100, 18 * 60), (1, 0, 45), (2, 1, 45), (10, 11, -90)]
)
def test_dbt_ends_before_airflow_ends_the_run(minutes, passed, left):
    now = datetime(2024, 3, 1, tzinfo=UTC)
    dag = SimpleNamespace(dagrun_timeout=timedelta(minutes=minutes))
    run = SimpleNamespace(start_date=now - timedelta(minutes=passed))
    task = SimpleNamespace(execution_timeout=timedelta(minutes=minutes))
    assert ending.seconds_left({"dag": dag, "dag_run": run, "task": task}, now) == left
    assert ending.seconds_left({"task": SimpleNamespace(execution_timeout=None)}) is None
