from types import SimpleNamespace

import pytest

from cht_sync.dbt.operators.gates import go_on


@pytest.mark.parametrize(("state", "goes_on"), [("failed", True), ("success", True), ("skipped", False)])
def test_the_next_group_of_models_runs_unless_the_one_before_was_skipped(state, goes_on):
    states = {"models.a.dbt_run": state, "models.a.contact": "skipped"}
    run = SimpleNamespace(
        dag_id="d",
        run_id="r",
        get_task_states=lambda dag_id, run_ids: {run_ids[0]: states},
        task=SimpleNamespace(upstream_task_ids=set(states)),
    )
    assert go_on.function(ti=run) is goes_on
