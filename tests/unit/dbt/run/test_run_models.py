"""What is known of a run of the models that was ended before its end."""

from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import pytest

from cht_sync.dbt.run.ending import EndedError
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.run.run_models import BatchedRun
from cht_sync.dbt.tables.model_results import ModelResult
from cht_sync.dbt.tables.model_runs import ModelsState

NEWEST = datetime(2024, 3, 1)


class Lineage:
    models = {"a", "b", "c"}

    def chosen(self, select):
        return set(self.models)

    def name(self, model):
        return model

    def select(self, models):
        return " ".join(sorted(models))

    def exclude(self, models):
        return ""


class Watch:
    def __init__(self):
        self.results, self.recorded = {}, []

    def failing(self):
        return set()

    def changed(self, models):
        return {}

    def batches(self, models):
        return {}

    def missing_prerequisites(self, models):
        return []

    def record(self):
        self.recorded.append(set(self.results))


class Dbt:
    lineage, select, variables = Lineage(), "", {}

    def run(self, watch, select, exclude, variables, prerequisites, batches):
        watch.results["a"] = ModelResult("a", "a", "success")
        raise EndedError


@pytest.fixture
def run():
    runs = SimpleNamespace(state=lambda: ModelsState(NEWEST, None, None), reached=lambda connection: NEWEST)
    return BatchedRun(Dbt(), Watch(), runs, SimpleNamespace(keep=False))


def test_what_had_ended_is_remembered_and_the_rest_is_named(run):
    with pytest.raises(EndedError):
        run.execute()
    assert run._watch.recorded == [{"a"}]
    assert run.not_reached == {"b", "c"}
    assert run.modelled_to is None


@pytest.mark.parametrize(("lift", "ran"), [(False, {"a", "c"}), (True, {"a", "b", "c"})])
def test_models_for_which_nothing_arrived_are_left_out_unless_row_loss_is_allowed(lift, ran):
    seen = []

    class All(Dbt):
        def run(self, watch, select, **_):
            seen.append(set(select.split()) or Lineage.models)
            return SimpleNamespace(success=True)

    runs = SimpleNamespace(state=lambda: ModelsState(NEWEST, None, None))
    BatchedRun(All(), Watch(), runs, SimpleNamespace(keep=False), lift=lift, idle=lambda: {"b"}).execute()
    assert seen == [ran]


def test_a_model_that_is_cut_off_has_not_failed(monkeypatch):
    """Its statement was cancelled: dbt takes that for an error of the model."""
    watch = ModelWatch.__new__(ModelWatch)
    watch._closed, watch.results, watch.error = False, {}, None
    failed = SimpleNamespace(
        info=SimpleNamespace(name="NodeFinished"),
        data=SimpleNamespace(node_info=SimpleNamespace(resource_type="model")),
    )
    monkeypatch.setattr("cht_sync.dbt.run.model_watch.is_ending", lambda: True)
    watch(failed)
    monkeypatch.setattr("cht_sync.dbt.run.model_watch.is_ending", lambda: False)
    watch._closed = True
    watch(failed)
    assert (watch.results, watch.error) == ({}, None)
