"""A task that is ended from outside, and a clock that jumps."""

from __future__ import annotations

import itertools
import os
import random
import signal
import threading
import time
from contextlib import closing

import psycopg2
import pytest

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.operators.base import LAST_MOMENTS_S
from cht_sync.reconcile.run import open_proof
from cht_sync.settings.settings import Settings
from tests.faults.launcher import Launcher
from tests.faults.proxy import Fault
from tests.faults.rig import text

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(180)]
ENDS_WITHIN_S = 5.0
PAGE = b"/_changes?"
SETTINGS = ("POSTGRES_", "AIRFLOW_CONN_CHT_", "CHT_")
WAITING = (
    "select count(*) from pg_stat_activity where application_name like 'cht%' and datname = current_database()"
    " and wait_event_type = 'Lock'"
)


@pytest.fixture(scope="module")
def launcher():
    """Yield what starts tasks in processes of their own."""
    with Launcher() as launcher:
        yield launcher


@pytest.fixture
def task(rig, launcher, tmp_path):
    """Yield a task to start and to end by SIGTERM; its databases hold a part, and as much waits."""
    rig.couch.fill(60)
    rig.run(batch_size=20)
    rig.couch.write(*({"_id": f"later{n}", "text": text(300)} for n in range(200)))
    task = Task(rig, launcher, tmp_path / "log")
    yield task
    task.end()


class Task:
    def __init__(self, rig, launcher, log):
        self.rig, self._launcher, self._log = rig, launcher, log
        self._pid = None
        self.before = set()

    def start(self, context=None, **arguments):
        if not arguments:  # a test of proofs may have locked the table
            self.before = {name for name, *_ in self.rig.stored()}
        environment = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
        arguments = {"database": self.rig.couch.name, **(arguments or {"batch_size": 10})}
        self._pid = self._launcher.start(environment, str(self._log), context, **arguments)

    def terminate(self):
        """Ends it as Airflow does; returns its exit code, after how many seconds, and what it said."""
        begun = time.monotonic()
        os.kill(self._pid, signal.SIGTERM)
        # Airflow would wait so long before SIGKILL; a test must not wait for ever.
        timer = threading.Timer(3 * ENDS_WITHIN_S, os.kill, (self._pid, signal.SIGKILL))
        timer.start()
        status = self._launcher.wait(self._pid)
        seconds = time.monotonic() - begun
        timer.cancel()
        self._pid = None
        return status, seconds, self._log.read_text()

    def end(self):
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            self._launcher.wait(self._pid)


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def assert_ended(task):
    """It has ended in time and said so; what it stored is whole pages with their checkpoint; nothing of it is left."""
    status, seconds, said = task.terminate()
    assert (status, seconds < ENDS_WITHIN_S) == (1, True), f"{status} after {seconds:.1f} s: {said[-2000:]}"
    assert "StoppedError" in said
    rig = task.rig
    until(lambda: rig.sessions() == 0, 8.0)
    stored = {name for name, *_ in rig.stored()}
    passed = rig.couch.ids_after("0") - rig.couch.ids_after(rig.checkpoint())
    assert passed <= stored
    assert stored - passed <= task.before


def assert_the_next_run_goes_on(rig):
    rig.http.clear()
    rig.sql.clear()
    rig.run()
    assert rig.differences() == []


def test_sigterm_while_couchdb_hangs(task):
    fault = task.rig.http.inject(Fault(match=PAGE, hang=True))
    task.start()
    until(lambda: fault.hits)
    assert_ended(task)
    assert_the_next_run_goes_on(task.rig)


def test_sigterm_while_couchdb_does_not_even_answer_for_the_database(task):
    fault = task.rig.http.inject(Fault(hang=True))
    task.start()
    until(lambda: fault.hits)
    assert_ended(task)
    assert_the_next_run_goes_on(task.rig)


def test_sigterm_between_tries(task):
    fault = task.rig.http.inject(Fault(match=PAGE, close_at=0))
    task.start()
    until(lambda: fault.hits > 2)
    assert_ended(task)
    assert_the_next_run_goes_on(task.rig)


def test_sigterm_inside_a_statement(task):
    """Somebody holds a row that the page wants to write; the task waits inside of libpq."""
    rig = task.rig
    name = next(name for name, deleted, *_ in rig.stored() if not deleted)
    revision = rig.rows("select doc->>'_rev' from v1.couchdb where _id = %s", name)[0][0]
    rig.run()
    rig.couch.write({"_id": name, "_rev": revision, "edited": "again"})
    with closing(psycopg2.connect(rig.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("select from v1.couchdb where _id = %s for update", (name,))
        task.start()
        until(lambda: rig.rows(WAITING) == [(1,)])
        before = rig.checkpoint()
        assert_ended(task)
        assert rig.checkpoint() == before
    assert_the_next_run_goes_on(rig)


@pytest.mark.parametrize(
    ("part", "held"),
    [
        ("range 1", "lock table v1.couchdb in access exclusive mode"),
        ("range 1", "lock table v1.couchdb_listing in access exclusive mode"),
        ("range 1", "select from v1.couchdb where _id = 'd0003' for update"),
        ("beside", "lock table v1.couchdb_collision in access exclusive mode"),
        ("tombstones", "lock table v1.couchdb_reconciliation in access exclusive mode"),
    ],
    ids=["compares", "notes", "repairs", "looks for what is not listed", "reads the plan"],
)
def test_sigterm_inside_a_statement_of_a_proof(task, part, held):
    """Each session of a proof may wait for a long time; what Airflow has ended goes on in none of them."""
    rig = task.rig
    rig.run()
    context = {"run_id": "ended", "params": {}}
    with open_proof(Settings(), CouchDBHook(), rig.couch.name, rig.couch.source, context) as proof:
        assert part in proof.plan(None, full=True)
    rig.rows("update v1.couchdb set doc = jsonb_set(doc, '{_rev}', '\"1-0\"') where _id = 'd0003'")
    with closing(psycopg2.connect(rig.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute(held)
        task.start(context, source=rig.couch.source, part=part)
        until(lambda: rig.rows(WAITING) == [(1,)])
        assert_its_statement_ended(task)
    with open_proof(Settings(), CouchDBHook(), rig.couch.name, rig.couch.source, context) as proof:
        for name in proof.plan(None, full=True):
            proof.run_part(name)
    assert rig.differences() == []


def test_sigterm_inside_a_statement_of_the_proof_after_a_first_load(task, monkeypatch):
    rig = task.rig
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "1")
    rig.rows("truncate v1.couchdb; delete from v1.couchdb_progress")
    with closing(psycopg2.connect(rig.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("lock table v1.couchdb_reconciliation in access exclusive mode")
        task.start()
        until(lambda: rig.rows(WAITING) == [(1,)])
        assert_its_statement_ended(task)
    assert_the_next_run_goes_on(rig)


def assert_its_statement_ended(task):
    """The task has ended because its statement had, sooner than it leaves what does not end alone."""
    status, seconds, said = task.terminate()
    assert (status, seconds < LAST_MOMENTS_S) == (1, True), f"{status} after {seconds:.1f} s: {said[-2000:]}"
    assert "StoppedError" in said
    until(lambda: task.rig.sessions("cht%") == 0, 1.0)


def test_sigterm_while_a_commit_waits_for_its_answer(task):
    fault = task.rig.sql.inject(Fault(match=b"COMMIT", after=b"PGCOPY\n", latency=30.0))
    task.start()
    until(lambda: task.rig.sql.exchanges > 0 and len(task.rig.stored()) > 60)
    status, seconds, said = task.terminate()
    assert (status, seconds < ENDS_WITHIN_S) == (1, True), f"{status} after {seconds:.1f} s: {said[-2000:]}"
    assert fault.hits <= 2
    assert_the_next_run_goes_on(task.rig)


@pytest.mark.parametrize("seed", range(8))
def test_sigterm_in_the_midst_of_pages(task, seed):
    # Long enough together that the task is under way still where this machine is slow to look.
    task.rig.http.inject(Fault(match=PAGE, latency=0.1))
    task.rig.sql.inject(Fault(latency=0.002))
    before = task.rig.checkpoint()
    task.start()
    until(lambda: task.rig.checkpoint() != before)
    time.sleep(random.Random(seed).uniform(0, 0.4))
    assert_ended(task)
    assert_the_next_run_goes_on(task.rig)


def test_stamps_grow_while_the_clock_jumps(rig):
    """The server's clock is an hour ahead or behind, another way each time somebody looks at it.

    A function of the same name stands for the clock; a session of ours finds none but those of ``pg_catalog``.
    """
    rig.couch.fill(60)
    rig.run(batch_size=20)
    rig.rows(
        "create schema shifted; create sequence shifted.looks; set allow_system_table_mods = on;"
        " alter function pg_catalog.clock_timestamp() rename to true_clock_timestamp;"
        " create function pg_catalog.clock_timestamp() returns timestamptz language sql volatile as $$"
        "   select pg_catalog.true_clock_timestamp()"
        "     + case nextval('shifted.looks') % 3 when 0 then interval '1 hour' when 1 then interval '-1 hour'"
        "       else interval '0' end $$;"
        " create table shifted.pages (n serial, stamp timestamp);"
        " create function shifted.note() returns trigger language plpgsql as $$ begin"
        "   insert into shifted.pages (stamp) select max(saved_timestamp) from v1.couchdb; return null; end $$;"
        " create trigger note after insert on v1.couchdb for each statement execute function shifted.note();"
    )
    newest = rig.rows("select max(saved_timestamp) from v1.couchdb")[0][0]
    for run in range(4):
        rig.couch.write(*({"_id": f"run{run}-{n}"} for n in range(50)))
        rig.run(batch_size=10)
    assert rig.rows("select last_value >= 20 from shifted.looks") == [(True,)]
    stamps = [newest, *(stamp for (stamp,) in rig.rows("select stamp from shifted.pages order by n"))]
    assert len(stamps) > 20
    assert all(earlier < later for earlier, later in itertools.pairwise(stamps))
    assert rig.differences() == []
