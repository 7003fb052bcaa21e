"""A real Airflow in which a task of each kind fails: what the person on call finds in its log, and what is kept."""

from __future__ import annotations

import json

import pytest

from tests.e2e.small_deployment import SmallDeployment
from tests.servers import mine
from tests.small_project import FILES, SECRET_NAME, write_small_project

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
MISSING = mine("not_there_yet")
# Postgres quotes the name when it refuses to take it for a number.
NAME_IS_A_NUMBER = FILES["models/person.sql"].replace("doc->>'name'", "(doc->>'name')::int")


class Reasons(SmallDeployment):
    """The deployment: one of two databases is missing, a model fails, a report has no folder, a new version is broken."""

    settings = {"COUCHDB_DBS": f"{mine('reasons')} {MISSING}", "CHT_REPORT_DIR": "/dev/null/reports"}

    def run(self, dag_id):
        """Run a DAG to its end; gives the state of the run and the states of its tasks."""
        run_id = self.client.trigger(dag_id)
        self.end(run_id, dag_id)
        return run_id, {
            (task["task_id"], task["map_index"]): task["state"] for task in self.client.tasks(dag_id, run_id)
        }

    def said(self, dag_id, run_id, task_id, map_index=-1, tried=1):
        """The records of the log file of one try."""
        lines = self.log(dag_id, run_id, task_id, map_index, tried).read_text().splitlines()
        return [json.loads(line) for line in lines]

    def kept(self, dag_id):
        found = self.rows(
            "select task_id, subject, message, tries, run_id, map_index, tried_again from v1.couchdb_task_error"
            " where dag_id = %s",
            dag_id,
        )
        return {(task, subject): tuple(more) for task, subject, *more in found}


@pytest.fixture(scope="module")
def reasons(server_folder, postgres_server, couchdb_server):
    files = {"models/person.sql": NAME_IS_A_NUMBER}
    reasons = Reasons(server_folder / "reasons", couchdb_server, postgres_server, files)
    reasons.write({"_id": "a", "type": "person", "name": SECRET_NAME})
    with reasons.running("cht_sync", "cht_data_tests", "cht_pipeline_deploy", "cht_reconcile", "cht_weekly_report"):
        yield reasons


def last_line(records):
    """The sentence at the end of a log, which is the only record of an error in it that says why the task failed."""
    last = records[-1]
    assert last["level"] == "error", records[-3:]
    assert not [each for each in records if "error_detail" in each], "no traceback"
    assert not [each for each in records if "Task failed with exception" in each["event"]]
    assert "\n" not in last["event"]
    return last["event"]


def test_a_source_a_model_and_a_run(reasons):
    run_id, states = reasons.run("cht_sync")
    failed = {task for task, state in states.items() if state == "failed"}
    assert failed == {("sync", 1), ("models.person", -1), ("result", -1)}, states
    source = f"{reasons.couchdb.host}/{MISSING}"

    said = last_line(reasons.said("cht_sync", run_id, "sync", 1))
    assert f"refused database {MISSING!r} with 404" in said
    assert "correct COUCHDB_DBS" in said
    assert said.endswith("Airflow does not try it again in this run (try 1 of 2).")

    first = last_line(reasons.said("cht_sync", run_id, "models.person"))
    assert first.startswith("model.small.person error: Database Error in model person")
    assert first.endswith("Airflow tries it again in 10 s (try 1 of 2).")
    second = last_line(reasons.said("cht_sync", run_id, "models.person", tried=2))
    assert "invalid input syntax for type integer" in second
    assert second.endswith("Airflow does not try it again in this run (try 2 of 2).")

    result = last_line(reasons.said("cht_sync", run_id, "result"))
    assert result.startswith("This run is incomplete: models.late, models.person, sync (")
    assert source in result

    kept = reasons.kept("cht_sync")
    assert set(kept) == {("sync", source), ("models.person", "person"), ("result", "")}
    message, tries, run, number, again = kept["sync", source]
    assert (tries, run, number, again) == (1, run_id, 1, False)
    assert "correct COUCHDB_DBS" in message
    assert kept["models.person", "person"][1:] == (2, run_id, -1, False)
    assert SECRET_NAME not in str(kept), "what is kept holds no value of a document"
    assert reasons.couchdb.password not in str(kept)


def test_a_deployment(reasons):
    write_small_project(reasons.project, {"models/broken.sql": "select * from {{ ref('nothing') }}"})
    run_id, states = reasons.run("cht_pipeline_deploy")
    assert states["build", -1] == "failed", states
    said = last_line(reasons.said("cht_pipeline_deploy", run_id, "build"))
    assert "nothing" in said
    assert set(reasons.kept("cht_pipeline_deploy")) == {("build", "")}
    (reasons.project / "models" / "broken.sql").unlink()
    _, states = reasons.run("cht_pipeline_deploy")
    assert "failed" not in states.values(), states
    assert reasons.kept("cht_pipeline_deploy") == {}, "the version in use is the one wanted"


def test_a_report(reasons):
    run_id, states = reasons.run("cht_weekly_report")
    assert states["write_report", -1] == "failed"
    said = last_line(reasons.said("cht_weekly_report", run_id, "write_report"))
    assert said.startswith("CHT_REPORT_DIR='/dev/null/reports' cannot be made")
    assert reasons.kept("cht_weekly_report")["write_report", ""][0] in said, "the scheduled run may have failed too"


def test_a_proof(reasons):
    run_id, states = reasons.run("cht_reconcile")
    failed = [task for task, state in states.items() if state == "failed"]
    assert failed, states
    for task_id, number in failed:
        assert MISSING in last_line(reasons.said("cht_reconcile", run_id, task_id, number)), task_id


def test_what_succeeds_is_not_told_of_any_more(reasons):
    """Both the source that is there now and the model that is mended; by the run that finds it so."""
    reasons.create(MISSING)
    reasons.write({"_id": "b", "type": "report"}, database=MISSING)
    write_small_project(reasons.project, {"models/person.sql": FILES["models/person.sql"]})
    reasons.run("cht_pipeline_deploy")
    _, states = reasons.run("cht_sync")
    assert set(states.values()) == {"success"}, states
    assert reasons.kept("cht_sync") == {}


def test_data_tests_of_models_that_ran(reasons):
    run_id, states = reasons.run("cht_data_tests")
    assert states["result", -1] == "failed"
    failed = {task for (task, _), state in states.items() if state == "failed"}
    assert failed == {"tests.person", "tests.late", "result"}
    said = {task: last_line(reasons.said("cht_data_tests", run_id, task)) for task in failed}
    assert said["tests.late"].startswith("1 of 1 tests failed: accepted_values_late_name__nobody fail, 1 rows")
    assert said["result"].startswith("2 of 4 data tests failed: ")
    assert set(reasons.kept("cht_data_tests")) == {("tests.person", "person"), ("tests.late", "late"), ("result", "")}
