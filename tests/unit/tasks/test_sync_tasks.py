"""The last task of a run: what it notes, and when it makes the run fail."""

import contextlib
from datetime import datetime

import pytest
from airflow.sdk.exceptions import AirflowFailException

from cht_sync.tasks import sync

NEWEST = datetime(2024, 3, 1, 10, 0, 30)
WORK = {"began": "2024-03-01T10:00:00+00:00", "newest": "2024-03-01T10:00:00", "deployment": "d1"}


class Run:
    """A task instance that knows the states of its run."""

    dag_id, run_id = "cht_sync", "manual"

    def __init__(self, work=None, reached=None, within_reach=None, **states):
        self.within_reach = within_reach
        self.states, self.work = {name.replace("__", "."): state for name, state in states.items()}, work
        self.reached = reached

    def xcom_push(self, key, value):
        self.pushed = {key: value}

    def get_task_states(self, dag_id, run_ids):
        return {run_ids[0]: self.states}

    def xcom_pull(self, task_ids, key="return_value"):
        if key == "modelled_to":
            return self.reached if task_ids == "models.dbt_run" else None
        if key == "within_reach":
            return self.within_reach
        return {"new_documents": self.work, "sources": [{"source": "h/medic"}, {"source": "h/users"}]}[task_ids]


class Runs:
    """Stands for ``couchdb_model_run``."""

    def __init__(self, reached=None):
        self.noted, self._reached, self.problems = [], reached, []

    def troubles(self, seconds):
        return self.problems

    def record(self, newest, deployment):
        self.noted.append((newest, deployment))
        return NEWEST, newest

    def look(self):
        return NEWEST, datetime(2024, 2, 1)

    def reached(self, connection):
        return self._reached


@pytest.fixture
def runs(monkeypatch):
    runs = Runs()
    monkeypatch.setattr(sync, "_model_runs", lambda settings: runs)
    monkeypatch.setattr(sync, "_model_results", lambda settings: runs)
    return runs


def report(run):
    return sync.report_result.function(models_group="models", ti=run)


def test_a_good_run_is_noted(runs):
    report(Run(WORK, sync_0="success", models__contact="success"))
    assert runs.noted == [(datetime(2024, 3, 1, 10), "d1")]


def test_the_catalogue_of_forms_fails_no_run(runs):
    report(Run(WORK, sync_0="success", models__contact="success", forms="failed"))
    assert len(runs.noted) == 1


def test_a_run_without_work_notes_nothing(runs):
    report(Run(None, sync_0="success", models__contact="skipped"))
    assert runs.noted == []


@pytest.mark.parametrize("state", ["failed", "upstream_failed"])
def test_a_model_that_failed_is_tried_again_next_time(runs, state):
    with pytest.raises(AirflowFailException, match=r"models\.contact failed"):
        report(Run(WORK, sync_0="success", models__contact=state))
    assert runs.noted == []


def test_a_source_that_failed_fails_the_run_though_the_models_are_good(runs):
    with pytest.raises(AirflowFailException, match=r"sync \(h/users\) failed"):
        report(Run(WORK, sync_0="success", sync_1="failed", models__contact="success"))
    assert runs.noted == [(datetime(2024, 3, 1, 10), "d1")]


def test_a_batch_is_noted_as_far_as_it_came(runs, monkeypatch):
    monkeypatch.setenv("DBT_BATCH_SIZE", "100")
    runs._reached = datetime(2024, 2, 1)
    report(Run(WORK, models__contact="success"))
    assert runs.noted == [(datetime(2024, 2, 1), "d1")]


def test_what_retries_have_made_good_counts(runs):
    """dbt failed on a model, and the second try of its task did not."""
    run = Run(WORK, within_reach="2024-03-01T09:59:00", models__dbt_run="success", models__contact="success")
    report(run)
    assert runs.noted == [(datetime(2024, 3, 1, 9, 59), "d1")]


@pytest.mark.parametrize("state", ["skipped", "failed"])
def test_what_no_retry_has_made_good_does_not(runs, state):
    states = {"models__dbt_run": "success", "models__contact": "success", "models__late": state}
    with contextlib.suppress(AirflowFailException):
        report(Run(WORK, within_reach="2024-03-01T09:59:00", **states))
    assert runs.noted == []


def test_the_lag_is_part_of_the_result(runs):
    run = Run(WORK, reached="2024-03-01T09:59:30", models__dbt_run="success", models__contact="success")
    assert report(run) == {
        "newest": "2024-03-01T10:00:30",
        "modelled_to": "2024-03-01T09:59:30",
        "lag_seconds": 60.0,
    }
    assert runs.noted == [(datetime(2024, 3, 1, 9, 59, 30), "d1")]
    assert report(Run(None, sync_0="success")) == {}


def test_what_the_run_of_dbt_says_counts_before_the_newest_row(runs, monkeypatch):
    """Tombstones at the end leave no row, and are no lag."""
    monkeypatch.setenv("DBT_BATCH_SIZE", "100")
    runs._reached = datetime(2024, 2, 1)
    report(Run(WORK, reached=WORK["newest"], models__dbt_run="success", models__contact="success"))
    assert runs.noted == [(datetime(2024, 3, 1, 10), "d1")]


def test_a_model_that_fails_is_named_with_what_it_says_whatever_its_task_does(runs):
    runs.problems = ["contact: invalid input (documents at fault: c0)"]
    run = Run(WORK, models__dbt_run="success", models__contact="skipped")
    with pytest.raises(
        AirflowFailException, match=r"a model failed.*\[contact: invalid input \(documents at fault: c0\)\]"
    ):
        report(run)
    assert runs.noted == []
    assert run.pushed["lag"]["lag_seconds"] == (NEWEST - datetime(2024, 2, 1)).total_seconds()


def test_a_run_of_which_a_group_held_models_back_is_not_noted(runs):
    """Its dbt has not said how far all of its models have come."""
    states = {"models__dbt_run": "success", "models__late__dbt_run": "success", "models__late__user": "success"}
    report(Run(WORK, reached=WORK["newest"], **states))
    assert runs.noted == []


class Events(dict):
    """Stands for Airflow's ``outlet_events`` of one alias."""

    def __missing__(self, alias):
        self[alias] = self
        return self

    def add(self, asset, extra):
        self.told = (asset.uri, extra)


class Copied:
    """A task instance that knows what each source has brought; None is one that failed."""

    def __init__(self, *counts):
        self.counts = counts

    def xcom_pull(self, task_ids):
        assert task_ids == ["sync"]
        return [None if count is None else {"source": f"h/{n}", "rows": count} for n, count in enumerate(self.counts)]


def test_one_event_for_the_table_tells_of_all_sources(monkeypatch):
    """Two tasks that are the first to name the same asset at the same time make Airflow fail one of them."""
    for name, value in {"COUCHDB_DBS": "medic", "POSTGRES_HOST": "db", "POSTGRES_DB": "cht"}.items():
        monkeypatch.setenv(name, value)
    events = Events()
    # Nothing is returned: `result` takes what this task returns for work of the models.
    assert sync.tell_of_documents.function(Copied(3, None, 0, 4), events) is None
    assert events.told == ("postgres://db:5432/cht/v1/couchdb", {"h/0": 3, "h/3": 4})


def test_where_nothing_arrived_there_is_no_event(monkeypatch):
    monkeypatch.setenv("COUCHDB_DBS", "medic")
    events = Events()
    sync.tell_of_documents.function(Copied(0, None), events)
    assert not hasattr(events, "told")


def test_the_tasks_that_copy_at_the_same_time_share_no_asset():
    from cht_sync.operators.couchdb_to_postgres import DOCUMENTS

    assert sync.TABLE != DOCUMENTS
