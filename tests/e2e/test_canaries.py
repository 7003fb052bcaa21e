"""A real Airflow at DEBUG in which models, data tests and a deployment fail on a value: it is in no message of theirs."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2 import sql

from tests.e2e.small_deployment import SmallDeployment
from tests.small_project import FILES, write_small_project

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1200)]
NAME, PHONE, DAY = "Amina-K4n4ry", "254700987654", "31-Febru4ry"
PERSON = FILES["models/person.sql"].replace(" from {{", ", (doc->>'phone')::int as phone from {{")
OF_A_DAY = FILES["models/person.sql"].replace(" from {{", ", (doc->>'day')::date as day from {{")


class Canaries(SmallDeployment):
    """The deployment, and all that it leaves behind."""

    airflow_has = {"AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG", "DBT_DEBUG": "true"}

    def run(self, dag_id):
        """Run a DAG to its end; gives the tasks that failed."""
        run_id = self.client.trigger(dag_id)
        self.end(run_id, dag_id)
        return {task for task, state in self.states(run_id, dag_id).items() if state == "failed"}

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
    canaries = Canaries(server_folder / "canaries", couchdb_server, postgres_server, {"models/person.sql": PERSON})
    canaries.write({"_id": "a", "type": "person", "name": NAME, "phone": "7", "day": DAY})
    with canaries.running("cht_sync", "cht_data_tests", "cht_pipeline_deploy"):
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
        assert canaries.held_by_tables(canaries.metadata, text) == [], "rendered fields, XComs, events"
        assert set(canaries.held_by_tables(canaries.database, text)) <= {"couchdb", "person", "late"}, text
