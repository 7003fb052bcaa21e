"""A good end of the models counts, also where retries or cleared tasks have made it good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cht_sync.dbt.run.good_end import note_alone
from cht_sync.dbt.tables.model_results import ModelResult, ModelResults
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.task_errors import Failure, TaskErrors
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
RAW = RawTable("v1", "couchdb")


class TaskInstance:
    dag_id, run_id = "cht_sync", "r"

    def __init__(self, task_id, work, states, **pushed):
        self.task_id, self._states, self._pushed, self._work = task_id, states, pushed, work

    def get_task_states(self, dag_id, run_ids):
        return {self.run_id: self._states}

    def xcom_pull(self, task_ids, key="return_value"):
        return self._work if task_ids == "new_documents" else self._pushed.get(key)


@pytest.fixture
def runs(database):
    with DocumentStore(postgres_connection(), RAW) as store:
        store.prepare()
        store.claim("h/medic")
        store.save("h/medic", page_of({"_id": "a", "type": "person"}), None)
    return ModelRuns(postgres_connection(), RAW, "v1")


def work(newest):
    began = datetime.now(UTC) - timedelta(minutes=1)
    return {"newest": newest.isoformat(), "deployment": "d", "began": began.isoformat()}


def noted(runs, task_id, states, **pushed):
    newest = runs.state().newest
    pushed = {key: newest.isoformat() for key in pushed}
    note_alone({"ti": TaskInstance(task_id, work(newest), states, **pushed)})
    return runs.state().modelled_to == newest


FAILED_ONCE = {"models.dbt_run": "success", "models.contact": "failed", "models.person": "success", "result": "failed"}


def test_a_model_that_was_cleared_by_itself_completes_the_run(runs):
    errors = TaskErrors(postgres_connection(), RAW)
    errors.record(Failure("cht_sync", "models.contact", "contact", "Bad.", "r"))
    errors.record(Failure("cht_sync", "sync", "h/medic", "Gone.", "r"))
    assert noted(runs, "models.contact", FAILED_ONCE, within_reach=1)
    assert errors.end_run("cht_sync", "r", {}) == {("sync", -1)}, "what fails beside the models still does"


def test_dbt_that_was_cleared_by_itself_completes_the_run(runs):
    states = {"models.dbt_run": "running", "models.contact": "success", "result": "failed"}
    assert noted(runs, "models.dbt_run", states, modelled_to=1)


def test_dbt_that_was_cleared_by_itself_counts_whatever_the_tasks_of_models_have_seen_before(runs):
    states = {"models.dbt_run": "running", "models.contact": "skipped", "models.person": "failed", "result": "failed"}
    assert noted(runs, "models.dbt_run", states, modelled_to=1)


@pytest.mark.parametrize(
    ("states", "pushed"),
    [
        ({**FAILED_ONCE, "result": "running"}, {"within_reach": 1}),  # that one is still to come
        ({**FAILED_ONCE, "models.person": "failed"}, {"within_reach": 1}),
        ({**FAILED_ONCE, "models.person": "skipped"}, {"within_reach": 1}),
        ({**FAILED_ONCE, "models.dbt_run": "failed"}, {"within_reach": 1}),
        (FAILED_ONCE, {}),
    ],
)
def test_what_is_no_good_end(runs, states, pushed):
    assert not noted(runs, "models.contact", states, **pushed)


def test_models_that_shrank_are_no_good_end(runs, database):
    newest = runs.state().newest
    made = work(newest)
    ModelResults(postgres_connection(), RAW, "v1").record([ModelResult("m.p.contact", "contact", "shrunk", "fell")])
    instance = TaskInstance("models.contact", made, FAILED_ONCE, within_reach=newest.isoformat())
    note_alone({"ti": instance})
    assert runs.state().modelled_to is None


def test_an_old_run_does_not_take_back_what_a_newer_one_has_noted(runs, database):
    later = datetime(2999, 1, 1)
    runs.record(later, "d2")
    assert not noted(runs, "models.contact", FAILED_ONCE, within_reach=1)
    assert runs.state().modelled_to == later
