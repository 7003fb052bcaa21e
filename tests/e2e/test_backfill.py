"""A backfill over days of March through a real scheduler, beside the scheduled run; twice, with the same result."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import psycopg2
import pytest

from include.demo.airflow import AirflowServices
from include.demo.client import DONE, AirflowClient
from include.demo.servers import foreign
from tests.integration.operators.test_operator import Couch, copy
from tests.oracle.oracle import compare
from tests.servers import mine

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]
DAG_ID = "cht_reconcile"
DATABASE, METADATA = mine("cht_backfill"), mine("cht_backfill_airflow")
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 2


class Deployment:
    """Days of March that were synced, and an Airflow that proves them."""

    def __init__(self, folder, couchdb, postgres, monkeypatch):
        self.couchdb, self.dsn = couchdb, postgres.dsn(DATABASE)
        postgres.create_database(DATABASE)
        postgres.create_database(METADATA)
        self.couch = Couch(couchdb)
        self.settings = {
            "COUCHDB_HOST": "127.0.0.1",
            "COUCHDB_PORT": str(urlsplit(couchdb.url).port),
            "COUCHDB_USER": couchdb.user,
            "COUCHDB_PASSWORD": couchdb.password,
            "COUCHDB_DBS": self.couch.name,
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_DB": DATABASE,
        }
        for name, value in self.settings.items():
            monkeypatch.setenv(name, value)
        for number in range(DAYS):
            self._day(number)
        self.airflow = AirflowServices(
            folder,
            postgres.dsn(METADATA).replace("postgresql:", "postgresql+psycopg2:"),
            {**foreign(os.environ), **self.settings},
        )
        self.client = AirflowClient(self.airflow)

    def _day(self, number):
        self.couch.write(*({"_id": f"day{number}-{n}"} for n in range(10)))
        copy(self.couch)
        morning = FIRST + timedelta(days=number, hours=5)
        self.rows(
            "update v1.couchdb_window set started_at = %s, ended_at = %s where ended_at > '2026-04-01'",
            morning, morning + timedelta(hours=1),
        )  # fmt: skip

    def rows(self, query, *values):
        with psycopg2.connect(self.dsn) as conn, conn.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def backfill(self, *options):
        """Creates a backfill, waits for its runs and returns the state of each, by its day."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "backfill", "create", "--dag-id", DAG_ID, "--from-date", "2026-02-28",
             "--to-date", "2026-03-02", "--max-active-runs", "4", *options],
            env={**foreign(os.environ), **self.airflow.environment()}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        deadline = time.monotonic() + 240
        while True:
            self.airflow.check()
            runs = [each for each in self.client.runs(DAG_ID) if each["run_type"] == "backfill"]
            ended = len(runs) == DAYS + 1 and all(each["state"] in DONE for each in runs)
            # The scheduler looks at backfills every half minute, and refuses another before.
            if ended and all(each["completed_at"] for each in self.client.backfills(DAG_ID)):
                return {each["data_interval_start"][:10]: each for each in runs}
            assert time.monotonic() < deadline, [(each["run_id"], each["state"]) for each in runs]
            time.sleep(0.5)

    def compared(self, run):
        """The one mapped instance of a run's comparison."""
        (task,) = [each for each in self.client.tasks(DAG_ID, run["dag_run_id"]) if each["task_id"] == "compare"]
        return task

    def differences(self):
        return compare(self.couchdb.url, self.couchdb.auth, self.couch.name, self.couch.source, self.dsn).differences

    def stamps(self):
        return dict(self.rows("select _id, saved_timestamp from v1.couchdb"))


@pytest.fixture
def deployment(server_folder, couchdb_server, postgres_server, monkeypatch):
    folder = server_folder / "backfill-airflow"
    deployment = Deployment(folder, couchdb_server, postgres_server, monkeypatch)
    deployment.airflow.start()
    yield deployment
    deployment.airflow.stop()


def test_a_backfill_proves_and_repairs_days_of_march(deployment):
    client = deployment.client
    client.wait_for_dag(DAG_ID)
    deployment.rows("delete from v1.couchdb where _id in ('day0-3', 'day1-4', 'day1-5')")
    deployment.rows("update v1.couchdb set doc = jsonb_set(doc, '{_rev}', '\"1-0\"') where _id = 'day1-1'")
    # From now on the scheduled run of yesterday is there, too.
    client.unpause(DAG_ID)
    runs = deployment.backfill()
    said = {day: (run["state"], deployment.compared(run)["state"]) for day, run in runs.items()}
    assert said == {
        "2026-02-28": ("success", "skipped"),
        **{f"2026-03-0{day}": ("success", "success") for day in (1, 2)},
    }
    assert "begins at 2026-03-01 05:00 UTC" in client.log(deployment.compared(runs["2026-02-28"]))
    assert deployment.differences() == []
    found = deployment.rows(
        "select sum(repaired)::int, sum(missing)::int, sum(stale)::int from v1.couchdb_reconciliation"
    )
    assert found == [(4, 3, 1)]
    stamps = deployment.stamps()

    again = deployment.backfill("--reprocess-behavior", "completed")
    assert {each["state"] for each in again.values()} == {"success"}
    assert deployment.stamps() == stamps
    assert deployment.rows("select verdict, count(*)::int from v1.couchdb_reconciliation where run like 'backfill%%' group by 1 order by 1") == [
        ("equal", 2), ("skipped", 1),
    ]  # fmt: skip
    scheduled = [each for each in client.runs(DAG_ID) if each["run_type"] == "scheduled"]
    assert [each["state"] for each in scheduled] == ["success"]
