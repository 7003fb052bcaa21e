"""Data tests that people know to fail turn nothing red; and what fails because documents arrive is tested again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.sdk.exceptions import AirflowFailException

from cht_sync.__main__ import main
from cht_sync.dbt.launch.profile import profile_config
from cht_sync.dbt.operators import run_tests as module
from cht_sync.dbt.operators.run_tests import RunTests
from cht_sync.dbt.operators.show_tests import ShowTests
from cht_sync.dbt.render import tests_group
from cht_sync.dbt.tables.acknowledgements import Acknowledgement
from cht_sync.dbt.tables.model_results import ModelResult, ModelResults
from cht_sync.dbt.tables.test_results import DataTestResult, DataTestResults
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.copy_hold import CopyHold
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
RAW = RawTable("v1", "couchdb")
KNOWN = "test.cht_pipeline.relationships_user_user_id__uuid__ref_contact_.1a2b"
NAME = "relationships_user_user_id__uuid__ref_contact_"
NEW = "test.cht_pipeline.not_null_person_uuid.3c4d"
REASON = "Users of the old server have no contact"


@pytest.fixture
def stored(database):
    with DocumentStore(postgres_connection(), RAW) as store:
        store.prepare()
        store.claim("h/medic")
        store.save("h/medic", page_of({"_id": "a", "type": "person"}), None)
    database.rows(
        "insert into v1.couchdb_model_run (models_schema, models, modelled_to, deployment, succeeded_at)"
        " select 'v1', '', max(saved_timestamp), 'd', now() from v1.couchdb"
    )
    return DataTestResults(postgres_connection(), RAW, "v1")


def result(test=KNOWN, status="fail", failures=12, model="user"):
    return DataTestResult(test, model, status, failures, f"Got {failures} results", 0.1)


def acknowledge(stored, test=NAME, **fields):
    one = Acknowledgement(test, REASON, "ann", datetime.now(UTC), **fields)
    stored.acknowledgements.add(one, stored.names())


def reported(run="r"):
    return tests_group.report_tests.function(run_id=run)


def shown(*tests, run="r"):
    return ShowTests(task_id="user", tests=list(tests)).execute({"run_id": run})


@pytest.mark.parametrize("named", [NAME, KNOWN])
def test_a_failure_that_is_known_is_listed_and_turns_nothing_red(stored, database, caplog, named):
    stored.record("r", [result(), result(NEW, "pass", 0, "person")])
    with pytest.raises(AirflowFailException, match="1 of 2 data tests failed"):
        reported()
    acknowledge(stored, named)
    assert reported() == {"acknowledged": 1, "pass": 1}
    assert shown(KNOWN) == {"acknowledged": 1}
    assert f"{NAME} fail, 12 rows: Got 12 results (acknowledged by ann on" in caplog.text
    assert REASON in caplog.text
    stored.record("r2", [one.judged(stored.acknowledgements.all()) for one in [result()]])
    assert REASON in database.value("select acknowledged from v1.couchdb_test_result where run = 'r2'")


def test_a_new_failure_turns_it_red_beside_a_known_one(stored):
    stored.record("r", [result(), result(NEW, model="person")])
    acknowledge(stored)
    with pytest.raises(AirflowFailException, match="1 of 2 data tests failed: not_null_person_uuid fail"):
        reported()
    assert shown(KNOWN) == {"acknowledged": 1}
    with pytest.raises(AirflowFailException):
        shown(NEW)


@pytest.mark.parametrize(
    ("fields", "found", "said"),
    [
        ({"at_most": 12}, result(failures=13), "it is acknowledged for at most 12 rows"),
        ({"at_most": 12}, result(failures=12), None),
        ({}, result(status="error", failures=None), "it is acknowledged to fail, but could not be run at all"),
        ({"errors": True}, result(status="error", failures=None), None),
        ({"until": datetime.now(UTC).date()}, result(), None),
    ],
)
def test_how_far_it_goes(stored, fields, found, said):
    stored.record("r", [found])
    acknowledge(stored, **fields)
    if said is None:
        assert reported() == {"acknowledged": 1}
    else:
        with pytest.raises(AirflowFailException, match=said):
            reported()


def test_one_that_is_over_is_red_again_and_says_so(stored, database):
    stored.record("r", [result()])
    acknowledge(stored)
    database.rows("update v1.couchdb_test_acknowledgement set until = current_date - 2")
    with pytest.raises(AirflowFailException, match=r"\(it was acknowledged until .*, which is over\)"):
        reported()


def test_one_whose_test_is_gone_is_told(stored, caplog):
    stored.record("r", [result()])
    acknowledge(stored)
    stored.record("r2", [result(NEW, "pass", 0)])
    assert reported("r2") == {"pass": 1}
    assert f"{NAME} is acknowledged to fail, but is no test of this run" in caplog.text


def test_by_the_command_line(stored, capsys, monkeypatch):
    monkeypatch.setattr("cht_sync.__main__._read_settings", lambda: None)
    stored.record("r", [result()])
    assert main(["acknowledge-test", "relationships_user", "--reason", "x"]) == 1
    assert f"There is no data test 'relationships_user': name one of the newest run ({NAME})" in capsys.readouterr().err
    assert main(["acknowledge-test", NAME]) == 1
    assert "needs a reason" in capsys.readouterr().err
    assert main(["acknowledge-test", NAME, "--reason", "x", "--until", "tomorrow"]) == 1
    assert "give it as YYYY-MM-DD" in capsys.readouterr().err
    assert main(["acknowledge-test", NAME, "--reason", REASON, "--by", "ann", "--until", "2999-01-01"]) == 0
    assert main(["acknowledge-test"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == said[2]
    assert said[0].endswith(f"until 2999-01-01: {REASON}")
    assert reported() == {"acknowledged": 1}
    assert main(["acknowledge-test", NAME, "--remove"]) == 0
    with pytest.raises(AirflowFailException):
        reported()


class Tests(RunTests):
    """Stands for dbt: gives what is planned for each time it runs."""

    def __init__(self, *, stored, planned, **kwargs):
        super().__init__(**kwargs)
        self._stored, self._planned, self.ran = stored, list(planned), []

    def _test(self, context, runs, **_):
        self._waited = module._wait(runs)
        self.ran.append(self.select)
        results = [one.judged(self._stored.acknowledgements.all()) for one in self._planned.pop(0)]
        self._results |= {one.test: one for one in results}
        self._stored.record(context["run_id"], self._results.values())
        self._waited = self._waited or module._wait(runs)


@pytest.fixture
def tests(stored, monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "CATCH_UP_S", 5.0)
    known = {"task_id": "run_tests", "model_of": {}, "profile_config": profile_config(Settings()), "project_dir": "."}
    return lambda *planned: Tests(stored=stored, planned=planned, **known)


def arrive(database, ago="0 s"):
    database.rows(f"update v1.couchdb set saved_timestamp = (now() - interval '{ago}') at time zone 'utc'")


def catch_up(database):
    database.rows("update v1.couchdb_model_run set modelled_to = (select max(saved_timestamp) from v1.couchdb)")


def test_what_failed_while_documents_arrived_is_tested_again_after_the_models(stored, tests, database, monkeypatch):
    hold, held = CopyHold(postgres_connection(), RAW), []

    def models_run(_):
        held.append(hold.reason())
        catch_up(database)

    monkeypatch.setattr(module.time, "sleep", models_run)
    arrive(database)
    task = tests([result(), result(NEW, "pass", 0)], [result(status="pass", failures=0)])
    task.execute({"run_id": "r"})
    assert task.ran == [None, NAME]
    assert reported() == {"pass": 2}
    assert "data tests of v1 wait for the models (until" in held[0]
    assert hold.reason() == ""


def test_what_fails_though_the_models_have_seen_all_is_red_at_once(stored, tests):
    task = tests([result()])
    task.execute({"run_id": "r"})
    assert task.ran == [None]
    with pytest.raises(AirflowFailException):
        reported()


def test_what_still_fails_then_is_red(stored, tests, database, monkeypatch):
    monkeypatch.setattr(module.time, "sleep", lambda _: catch_up(database))
    arrive(database)
    task = tests([result()], [result()])
    task.execute({"run_id": "r"})
    assert task.ran == [None, NAME]
    with pytest.raises(AirflowFailException):
        reported()


def test_models_that_do_not_catch_up_are_not_waited_for_for_ever(stored, tests, database, monkeypatch, caplog):
    monkeypatch.setattr(module, "CATCH_UP_S", 0.05)
    arrive(database)
    task = tests([result()])
    task.execute({"run_id": "r"})
    assert "did not catch up" in caplog.text
    assert CopyHold(postgres_connection(), RAW).reason() == ""


@pytest.mark.parametrize("why", ["acknowledged", "models fail"])
def test_nothing_is_held_back_for_what_is_known_or_for_models_that_fail(stored, tests, database, why):
    arrive(database)
    if why == "acknowledged":
        stored.record("before", [result()])
        acknowledge(stored)
    else:
        failed = ModelResult("model.p.user", "user", "error", "no", 0.1)
        ModelResults(postgres_connection(), RAW, "v1").record([failed])
    task = tests([result()])
    task.execute({"run_id": "r"})
    assert task.ran == [None]


def test_a_hold_that_nobody_takes_back_is_over_by_itself(stored, database):
    hold = CopyHold(postgres_connection(), RAW)
    with hold.held("v1", "tests", 60):
        assert hold.reason().startswith("tests (until ")
        database.rows("update v1.couchdb_copy_hold set until = now() - interval '1 s'")
        assert hold.reason() == ""


def test_a_list_of_what_is_known_before_any_table_is_there(database, capsys, monkeypatch):
    monkeypatch.setattr("cht_sync.__main__._read_settings", lambda: None)
    assert main(["acknowledge-test"]) == 0
    assert main(["acknowledge-test", NAME, "--reason", "x"]) == 1
    assert "none has run yet" in capsys.readouterr().err
