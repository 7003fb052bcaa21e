"""Hundreds of syncs killed at any instant, under writers that never rest: nothing is lost, nothing is twice."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import closing

import psycopg2
import pytest

from tests.faults.launcher import Launcher
from tests.faults.rig import Couch, Rig, text
from tests.oracle.oracle import compare

# Not CHT_...: the tests take those variables out of the environment.
KILLS = int(os.environ.get("SYNC_KILLS", "200"))
BATCH = 20
BACKLOG = 200
SEED = 20
pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(120 + KILLS)]
_DOING = """
select coalesce(min(case
    when query ilike 'copy %%' then 'copies'
    when query ilike 'commit%%' then 'commits'
    when query ilike '%%on conflict (_id)%%' then 'stores'
    else 'prepares' end) filter (where state <> 'idle'), min(case
    when query ilike 'commit%%' then 'waits for a page' else 'prepares' end), 'starts or ends')
from pg_stat_activity where application_name like 'cht_sync%%' and datname = current_database()
"""


class Writer(threading.Thread):
    """Creates, edits and deletes documents until it is told to end."""

    def __init__(self, couch):
        super().__init__(name="writer")
        self._couch, self._random = couch, random.Random(SEED)
        self._revisions, self._number = {}, 0
        self._ended = threading.Event()
        self.writes = Counter()
        self.error = None

    def run(self):
        try:
            while not self._ended.wait(0.1):
                self._write(20)
        except Exception as error:
            self.error = error

    def end(self):
        self._ended.set()
        self.join()
        assert self.error is None

    def _write(self, count):
        documents = {}
        for _ in range(count):
            kind = self._random.choices(["create", "edit", "delete"], [5, 4, 1])[0]
            if kind == "create" or not self._revisions:
                self._number += 1
                document = {"_id": f"k{self._number:06}", "n": self._number}
            else:
                name = self._random.choice(list(self._revisions))
                document = {"_id": name, "_rev": self._revisions[name], "_deleted": kind == "delete"}
            if document["_id"] not in documents:
                documents[document["_id"]] = {**document, "text": text(self._random.randrange(20, 1000))}
                self.writes[kind] += 1
        revisions = self._couch.write(*documents.values())
        for name, document in documents.items():
            if document.get("_deleted"):
                # Some come back to life.
                self._revisions.pop(name, None)
            else:
                self._revisions[name] = revisions[name]


class Killer:
    """Starts syncs and kills each at some instant of its life."""

    def __init__(self, rig, launcher, cursor, log, **variables):
        self._rig, self._launcher, self._cursor, self._log = rig, launcher, cursor, log
        self._environment = {
            name: value for name, value in os.environ.items() if name.startswith(("POSTGRES_", "AIRFLOW_CONN_CHT_"))
        } | variables
        self._chance = random.Random(SEED)
        self.longest = 0.0
        self.statuses, self.doing, self.progress = Counter(), Counter(), 0

    @property
    def kills(self):
        return self.statuses[-signal.SIGKILL]

    def start(self):
        arguments = {"database": self._rig.couch.name, "batch_size": BATCH}
        return self._launcher.start(self._environment, str(self._log), **arguments)

    def run_undisturbed(self):
        """Runs one to its end; returns the seconds it took."""
        self._log.unlink(missing_ok=True)
        begun = time.monotonic()
        assert self._launcher.wait(self.start()) == 0, self._log.read_text()[-2000:]
        return time.monotonic() - begun

    def kill_one(self):
        before, pid = self._checkpoint(), self.start()
        time.sleep(self._chance.uniform(0, self.longest))
        self._cursor.execute(_DOING)
        doing = self._cursor.fetchone()[0]
        os.kill(pid, signal.SIGKILL)
        status = self._launcher.wait(pid)
        self.statuses[status] += 1
        if status != -signal.SIGKILL:
            self.longest /= 1.2
            return
        self.doing[doing] += 1
        if self._checkpoint() != before:
            self.progress += 1
        else:
            # Other work on this machine makes runs longer: the instants are to cover all of one.
            self.longest *= 1.03

    def _checkpoint(self):
        self._cursor.execute("select seq from v1.couchdb_progress where source = %s", (self._rig.couch.source,))
        return (self._cursor.fetchone() or (None,))[0]


@pytest.fixture
def direct_rig(couchdb_server, database, monkeypatch):
    """Yield both servers without proxies: what counts here is the number of kills."""
    rig = Rig(Couch(couchdb_server), database.dsn, http=couchdb_server, sql=None, setenv=monkeypatch.setenv)
    rig.extra()
    return rig


def assert_ledger_has_no_gap(rig):
    """Every window begins where the one before it ended, the last one where the checkpoint is."""
    with closing(psycopg2.connect(rig.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("select seq_from, seq_to from v1.couchdb_window where pages > 0 order by started_at")
        found = cursor.fetchall()
        cursor.execute("select seq from v1.couchdb_progress")
        ends = [end for _, end in found]
        assert [begin for begin, _ in found] == [None, *ends[:-1]]
        assert cursor.fetchall() == [(ends[-1],)]


def test_a_sync_that_is_killed_hundreds_of_times_loses_nothing(direct_rig, couchdb_server, tmp_path):
    rig, writer, begun = direct_rig, Writer(direct_rig.couch), time.monotonic()
    rig.couch.fill(BACKLOG)
    with Launcher() as launcher, closing(psycopg2.connect(rig.dsn)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        killer = Killer(rig, launcher, cursor, tmp_path / "log")
        # The first run creates the tables, too; an undisturbed one of a backlog tells how long one takes.
        killer.run_undisturbed()
        rig.couch.write(*({"_id": f"backlog{n}"} for n in range(BACKLOG)))
        typical = killer.run_undisturbed()
        killer.longest = 1.5 * typical
        writer.start()
        try:
            while killer.kills < KILLS and killer.statuses.total() < 3 * KILLS:
                killer.kill_one()
        finally:
            writer.end()
        # The session of the last one may need a moment to notice that nobody is there any more.
        deadline = time.monotonic() + 20
        while rig.sessions() and time.monotonic() < deadline:
            time.sleep(0.05)
        killer.run_undisturbed()
    verdict = compare(couchdb_server.url, couchdb_server.auth, rig.couch.name, rig.couch.source, rig.dsn)
    print(
        f"\n{killer.kills} kills survived, {killer.progress} of them after a page of that run was stored; while it"
        f" {dict(killer.doing)}; ended before it could be killed: {killer.statuses.total() - killer.kills}; a run takes"
        f" {typical:.2f} s undisturbed, killed after {killer.longest:.2f} s at most; written meanwhile:"
        f" {dict(writer.writes)}; {verdict.documents} documents compared, {len(verdict.differences)} losses;"
        f" {time.monotonic() - begun:.0f} s."
    )
    assert verdict.differences == []
    assert_ledger_has_no_gap(rig)
    assert verdict.documents > 2 * BACKLOG
    assert killer.kills >= KILLS
    assert KILLS / 10 < killer.progress < KILLS
    # Kills hit more than one kind of moment.
    assert len(killer.doing) >= 4


def test_a_first_load_that_is_killed_again_and_again_goes_on(direct_rig, couchdb_server, tmp_path):
    rig, writer = direct_rig, Writer(direct_rig.couch)
    rig.couch.fill(10 * BACKLOG)
    with Launcher() as launcher, closing(psycopg2.connect(rig.dsn)) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        killer = Killer(rig, launcher, cursor, tmp_path / "log", CHT_FIRST_LOAD_THRESHOLD="1")
        killer.longest = 0.3
        writer.start()
        stored = []
        try:
            while killer.kills < 100 and not (stored and stored[-1][0]):
                pid = killer.start()
                time.sleep(killer._chance.uniform(0, killer.longest))
                os.kill(pid, signal.SIGKILL)
                killer.statuses[launcher.wait(pid)] += 1
                cursor.execute("select to_regclass('v1.couchdb_first_load')")
                if cursor.fetchone()[0]:
                    cursor.execute(
                        "select count(*) > 0 and bool_and(finished_at is not null), coalesce(sum(documents), 0)::int"
                        " from v1.couchdb_first_load"
                    )
                    stored.append(cursor.fetchone())
                if stored[-2:-1] == stored[-1:]:
                    # Only then: a run that lives long enough to load all that is left ends the trial.
                    killer.longest *= 1.03
        finally:
            writer.end()
        killer.run_undisturbed()
        cursor.execute("select count(*) from v1.couchdb_first_load where not done or proven_at is null")
        assert cursor.fetchone() == (0,)
        cursor.execute("select array_agg(distinct verdict) from v1.couchdb_reconciliation")
        assert cursor.fetchone() == (["equal"],)
    # It went on from where it was, time after time.
    counts = [documents for _, documents in stored]
    assert counts == sorted(counts)
    assert len(set(counts)) > 5
    verdict = compare(couchdb_server.url, couchdb_server.auth, rig.couch.name, rig.couch.source, rig.dsn)
    print(f"\n{killer.kills} kills of a first load, {len(set(counts))} steps; {verdict.documents} documents compared.")
    assert verdict.differences == []
