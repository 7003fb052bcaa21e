"""A real Airflow at DEBUG in which models, data tests and a deployment fail on a value: it is in no message of theirs."""

from __future__ import annotations

import time
from contextlib import ExitStack

import psycopg2
import pytest
import requests
from psycopg2 import sql

from cht_sync.pipeline.install import install
from cht_sync.settings import Settings
from include.demo.airflow import AirflowServices
from include.demo.client import DONE, AirflowClient
from tests.servers import mine
from tests.small_project import FILES, write_small_project

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1200)]
DATABASE, METADATA, COUCHDB = mine("cht_canaries"), mine("cht_canaries_airflow"), mine("canaries")
NAME, PHONE, DAY = "Amina-K4n4ry", "254700987654", "31-Febru4ry"
PERSON = FILES["models/person.sql"].replace(" from {{", ", (doc->>'phone')::int as phone from {{")
OF_A_DAY = FILES["models/person.sql"].replace(" from {{", ", (doc->>'day')::date as day from {{")


class Canaries:
    """The deployment, and all that it leaves behind."""

    def __init__(self, folder, couchdb, postgres):
        self.couchdb, self.folder, self.postgres = couchdb, folder, postgres
        self.project = write_small_project(folder / "small", {"models/person.sql": PERSON})
        self.settings = {
            "COUCHDB_HOST": couchdb.host,
            "COUCHDB_PORT": str(couchdb.port),
            "COUCHDB_USER": couchdb.user,
            "COUCHDB_PASSWORD": couchdb.password,
            "COUCHDB_DBS": COUCHDB,
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_DB": DATABASE,
            "CHT_SYNC_SCHEDULE": "none",
            "CHT_RECONCILE_SCHEDULE": "none",
            "CHT_DATA_TESTS_SCHEDULE": "none",
            "CHT_PIPELINE_SCHEDULE": "none",
            "CHT_PIPELINE_DIR": str(folder / "pipeline"),
            "DBT_LOCAL_PATH": str(self.project),
            "DBT_PACKAGE_HUB_URL": "http://127.0.0.1:9/",
        }
        self.airflow = AirflowServices(
            folder / "airflow",
            f"postgresql+psycopg2://{postgres.user}:{postgres.password}@{postgres.host}:{postgres.port}/{METADATA}",
            {**self.settings, "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG", "DBT_DEBUG": "true"},
        )
        self.client = AirflowClient(self.airflow)

    def write(self, *documents):
        url = f"{self.couchdb.url}/{COUCHDB}/_bulk_docs"
        requests.post(url, json={"docs": documents}, auth=self.couchdb.auth, timeout=10).raise_for_status()

    def run(self, dag_id):
        """Run a DAG to its end; gives the tasks that failed."""
        run_id, deadline = self.client.trigger(dag_id), time.monotonic() + 400
        while self.client.run(dag_id, run_id)["state"] not in DONE:
            assert time.monotonic() < deadline, self.client.tasks(dag_id, run_id)
            time.sleep(0.5)
        return {task["task_id"] for task in self.client.tasks(dag_id, run_id) if task["state"] == "failed"}

    def held_by_files(self, text):
        """Files that Airflow and dbt have written which hold it."""
        found = (path for path in self.folder.rglob("*") if path.is_file() and self.project not in path.parents)
        return [str(path.relative_to(self.folder)) for path in found if text.encode() in path.read_bytes()]

    def held_by_tables(self, database, text):
        """Tables which hold it, in whatever column."""
        with psycopg2.connect(self.postgres.dsn(database)) as conn, conn.cursor() as cursor:
            cursor.execute(
                "select schemaname, tablename from pg_tables where schemaname not in ('pg_catalog', 'information_schema')"
            )
            found = []
            for schema, table in cursor.fetchall():
                look = sql.SQL("select exists (select from {} t where t::text like %s)")
                cursor.execute(look.format(sql.Identifier(schema, table)), (f"%{text}%",))
                found += [table] if cursor.fetchone()[0] else []
            return found


@pytest.fixture(scope="module")
def canaries(server_folder, postgres_server, couchdb_server):
    folder = server_folder / "canaries"
    folder.mkdir()
    for name in (DATABASE, METADATA):
        postgres_server.create_database(name)
    canaries = Canaries(folder, couchdb_server, postgres_server)
    requests.put(f"{couchdb_server.url}/{COUCHDB}", auth=couchdb_server.auth, timeout=10).raise_for_status()
    canaries.write({"_id": "a", "type": "person", "name": NAME, "phone": "7", "day": DAY})
    install(Settings(canaries.settings))
    with ExitStack() as stack:
        stack.callback(canaries.airflow.stop)
        canaries.airflow.start()
        for dag_id in ("cht_sync", "cht_data_tests", "cht_pipeline_deploy"):
            canaries.client.wait_for_dag(dag_id)
        yield canaries


def test_values_are_in_documents_and_models_alone(canaries):
    assert canaries.run("cht_sync") == set()
    assert {"tests.person", "tests.late"} <= canaries.run("cht_data_tests"), "one cannot run for a name, one finds it"
    canaries.write({"_id": "b", "type": "person", "name": NAME, "phone": PHONE, "day": DAY})
    assert "models.person" in canaries.run("cht_sync"), "a phone is no integer"
    write_small_project(canaries.project, {"models/person.sql": OF_A_DAY})
    assert canaries.run("cht_pipeline_deploy"), "a day is none"

    logs = canaries.folder / "airflow" / "logs"
    said = "".join(path.read_text(errors="replace") for path in logs.rglob("*.log"))
    assert '"level":"debug"' in said.replace('": "', '":"'), "nothing would be proven"
    assert "is out of range for type integer" in said, "what helps is there"
    assert "documents at fault: b" in said
    for text in (NAME, PHONE, DAY, DAY[:8]):
        assert canaries.held_by_files(text) == [], text
        assert canaries.held_by_tables(METADATA, text) == [], "rendered fields, XComs, events"
        assert set(canaries.held_by_tables(DATABASE, text)) <= {"couchdb", "person", "late"}, text
