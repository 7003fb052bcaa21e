"""A newcomer follows docs/how-to-install.md on an Airflow that was there before; then one of its two workers is lost in a copy."""

from __future__ import annotations

import json
import shutil
import time
from contextlib import closing

import psycopg2
import pytest
import requests

from include.demo.client import DONE, AirflowClient
from tests.e2e.plain_airflow import WORKERS, PlainAirflow
from tests.faults.proxy import Fault, FaultProxy
from tests.oracle.oracle import compare
from tests.servers import mine
from tests.unit.scripted_server import ScriptedServer

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server, for example of Debian"),
]
DATABASE, METADATA, COUCHDB = mine("cht_existing"), mine("cht_existing_airflow"), mine("existing")
DOCUMENTS = 1500
SIDES = ("inputs", "outputs")


class Existing:
    """The Airflow, and the servers that it is to connect."""

    def __init__(self, folder, couchdb, postgres, proxy, collector):
        self.couchdb, self.postgres, self.proxy, self.collector = couchdb, postgres, proxy, collector
        for name in (DATABASE, METADATA):
            postgres.create_database(name)
        requests.put(f"{couchdb.url}/{COUCHDB}", auth=couchdb.auth, timeout=10).raise_for_status()
        self.write(
            {"_id": f"d{n}", "type": "person", "name": f"name {n}", "reported_date": n} for n in range(DOCUMENTS)
        )
        settings = {
            "BATCH_SIZE": "20",
            "CHT_SYNC_SCHEDULE": "none",
            # Each model is a task of Celery's, seconds for two cores; the demo's test runs them all.
            "DBT_SELECTOR": "+contact",
            "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
                {"type": "http", "url": f"http://127.0.0.1:{collector.port}", "retry": {"total": 1}}
            ),
        }
        self.airflow = PlainAirflow(folder, postgres.dsn(METADATA), settings)
        self.client = AirflowClient(self.airflow)

    def write(self, documents):
        url = f"{self.couchdb.url}/{COUCHDB}/_bulk_docs"
        answer = requests.post(url, json={"docs": list(documents)}, auth=self.couchdb.auth, timeout=60)
        answer.raise_for_status()

    def connect(self):
        """Adds the two connections of that page by Airflow's own command, from a file."""
        connections = {
            "cht_couchdb": {
                "conn_type": "http",
                "host": "127.0.0.1",
                "port": self.proxy.port,
                "login": self.couchdb.user,
                "password": self.couchdb.password,
                "extra": json.dumps({"databases": [COUCHDB]}),
            },
            "cht_postgres": {
                "conn_type": "postgres",
                "host": self.postgres.host,
                "port": self.postgres.port,
                "login": self.postgres.user,
                "password": self.postgres.password,
                "schema": DATABASE,
            },
        }
        file = self.airflow.folder / "connections.json"
        file.write_text(json.dumps(connections))
        done = self.airflow.run("airflow", "connections", "import", str(file))
        assert done.returncode == 0, done.stdout + done.stderr

    def command(self, name):
        """``python -m cht_sync``, as that page has it."""
        return self.airflow.run("python", "-m", "cht_sync", name, PYTHONPATH="plugins")

    def rows(self, query):
        with psycopg2.connect(self.postgres.dsn(DATABASE)) as conn, conn.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall()

    def copied(self):
        """Documents that the ledger knows of."""
        if self.rows("select to_regclass('v1.couchdb_window')") == [(None,)]:
            return 0
        return self.rows("select coalesce(sum(documents), 0)::int from v1.couchdb_window")[0][0]

    def end(self, run_id, seconds=300):
        deadline = time.monotonic() + seconds
        while self.client.run("cht_sync", run_id)["state"] not in DONE:
            self.airflow.check()
            tasks = self.client.tasks("cht_sync", run_id)
            states = [(each["task_id"], each["state"], each["try_number"]) for each in tasks]
            assert time.monotonic() < deadline, f"{states}\n{self.airflow.logs()}"
            time.sleep(0.2)
        tasks = self.client.tasks("cht_sync", run_id)
        failed = [f"{each['task_id']}: {self.client.log(each)[-1500:]}" for each in tasks if each["state"] == "failed"]
        assert self.client.run("cht_sync", run_id)["state"] == "success", failed
        return tasks

    def lineage(self, task):
        """What the task's last run read and wrote, each as namespace and name, and how many rows; None before."""
        completed = [
            event
            for event in map(json.loads, list(self.collector.bodies))
            if event["job"]["name"] == f"cht_sync.{task}" and event["eventType"] == "COMPLETE"
        ]
        if not completed:
            return None
        inputs, outputs = ({(each["namespace"], each["name"]) for each in completed[-1][side]} for side in SIDES)
        rows = [
            each["outputFacets"]["outputStatistics"]["rowCount"]
            for each in completed[-1]["outputs"]
            if "outputStatistics" in each.get("outputFacets", {})
        ]
        return inputs, outputs, rows

    def differences(self):
        source = f"127.0.0.1/{COUCHDB}"
        dsn = self.postgres.dsn(DATABASE)
        return compare(self.couchdb.url, self.couchdb.auth, COUCHDB, source, dsn).differences


def wait_for(happens, seconds, airflow):
    deadline = time.monotonic() + seconds
    while not (found := happens()):
        airflow.check()
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module")
def existing(server_folder, couchdb_server, postgres_server):
    with FaultProxy(couchdb_server.host, couchdb_server.port) as proxy, closing(ScriptedServer()) as collector:
        existing = Existing(server_folder / "existing", couchdb_server, postgres_server, proxy, collector)
        existing.airflow.install()
        done = existing.airflow.run("airflow", "db", "migrate")
        assert done.returncode == 0, done.stderr[-3000:]
        yield existing
        existing.airflow.stop()


def test_the_check_names_what_is_missing_and_then_nothing(existing):
    missing = existing.command("check")
    assert missing.returncode == 1
    assert "cht_couchdb" in missing.stdout, missing.stdout + missing.stderr
    existing.connect()
    found = existing.command("check")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "was never tested" not in found.stdout, found.stdout


def test_the_first_run_survives_the_loss_of_a_worker(existing):
    existing.airflow.start()
    existing.client.wait_for_dag("cht_sync")
    slow = existing.proxy.inject(Fault(match=b"/_changes?", latency=0.15))
    run_id = existing.client.trigger("cht_sync")
    wait_for(lambda: 100 < existing.copied() < DOCUMENTS - 200, 120, existing.airflow)
    (task,) = [each for each in existing.client.tasks("cht_sync", run_id) if each["task_id"] == "sync"]
    lost = existing.airflow.kill_worker_of(task["pid"])
    assert existing.copied() < DOCUMENTS
    existing.proxy.clear()
    tasks = existing.end(run_id)
    assert slow.hits
    assert lost in WORKERS
    (again,) = [each for each in tasks if each["task_id"] == "sync"]
    assert again["try_number"] == 2
    assert existing.differences() == []
    # Nothing was stored twice: the ledger counts each document once.
    assert existing.copied() == DOCUMENTS
    assert existing.rows("select count(*)::int from v1.contact") == [(DOCUMENTS,)]


def test_lineage_leads_from_couchdb_over_the_table_of_documents_to_the_models(existing):
    server = f"postgres://{existing.postgres.host}:{existing.postgres.port}"
    table, contact = (server, f"{DATABASE}.v1.couchdb"), (server, f"{DATABASE}.v1.contact")
    # The provider sends on after a task has ended.
    inputs, outputs, rows = wait_for(lambda: existing.lineage("sync"), 60, existing.airflow)
    assert inputs == {(f"couchdb://127.0.0.1:{existing.proxy.port}", COUCHDB)}
    assert outputs == {table}
    assert 0 < sum(rows) < DOCUMENTS  # of the second try, which went on behind the pages of the first
    _, outputs, _ = wait_for(lambda: existing.lineage("new_documents"), 60, existing.airflow)
    assert outputs == {table}
    inputs, outputs, _ = wait_for(lambda: existing.lineage("models.dbt_run"), 60, existing.airflow)
    assert table in inputs
    assert contact in outputs
    told = b"".join(existing.collector.bodies)
    for secret in (existing.couchdb.password, existing.postgres.password, existing.airflow.password):
        assert secret.encode() not in told
    assert f"name {DOCUMENTS - 1}".encode() not in told, "nor is anything of a document"


def test_what_is_written_later_arrives_and_the_proof_is_one_command(existing):
    existing.write([{"_id": "later", "type": "person", "name": "later"}])
    existing.end(existing.client.trigger("cht_sync"))
    assert existing.rows("select name from v1.contact where uuid = 'later'") == [("later",)]
    proof = existing.command("verify")
    assert proof.returncode == 0, proof.stdout + proof.stderr


def test_events_start_runs_and_a_triggerer_that_is_killed_neither_loses_nor_doubles_one(existing):
    before = {run["dag_run_id"] for run in existing.client.runs("cht_sync")}

    def started():
        return [run["dag_run_id"] for run in existing.client.runs("cht_sync") if run["dag_run_id"] not in before]

    def write(name):
        existing.write([{"_id": name, "type": "person", "name": name}])

    def arrive(name):
        wait_for(lambda: existing.rows(f"select 1 from v1.contact where uuid = '{name}'"), 120, existing.airflow)

    existing.airflow.wait_for_events()
    write("one")
    arrive("one")
    assert len(started()) == 1
    existing.end(started()[0])
    # Nobody waits while this is written.
    existing.airflow.kill_triggerer()
    write("two")
    existing.airflow.start_triggerer()
    arrive("two")
    # It has just asked for a run.
    write("three")
    wait_for(lambda: len(started()) == 3, 60, existing.airflow)
    existing.airflow.kill_triggerer()
    existing.airflow.start_triggerer()
    arrive("three")
    # The next event is the first that the new one tells of.
    write("four")
    arrive("four")
    runs = started()
    for run_id in runs:
        existing.end(run_id)
    assert len(runs) == 4
    assert existing.differences() == []
