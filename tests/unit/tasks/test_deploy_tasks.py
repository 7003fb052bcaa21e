"""The tasks of cht_pipeline_deploy hand on what they are given."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from cht_sync.dbt.deploy import deploy
from cht_sync.dbt.deploy.look import Goal, Wish
from cht_sync.tasks import deploy as deploy_tasks

PARAMS = {"dry_run": False, "run_unit_tests": True, "roll_back_to": " abc ", "full_refresh": None, "force": False}
GOAL = {"reason": "r", "before": {"": "v"}, "held": "", "folder": "f"}
TI = SimpleNamespace(dag_id="d", task_id="t")


def test_plan_and_switch_get_goal_and_wish(monkeypatch):
    wish = Wish(roll_back_to="abc", run_unit_tests=True)
    monkeypatch.setattr(deploy, "plan", lambda _, goal, wish: [goal, wish])
    assert deploy_tasks.plan_deployment.function(GOAL, PARAMS) == [Goal(**GOAL), wish]
    monkeypatch.setattr(deploy, "switch", lambda _, goal, wish, holder: (goal, wish, holder[:4]))
    assert deploy_tasks.switch_version.function(GOAL, [], PARAMS, TI) == (Goal(**GOAL), wish, "d.t@")


def test_a_dry_run_ends_before_the_switch(monkeypatch):
    monkeypatch.setattr(deploy, "switch", lambda *_: pytest.fail("nothing may change"))
    with pytest.raises(AirflowSkipException, match="2 models would be rebuilt"):
        deploy_tasks.switch_version.function(GOAL, [{}, {}], {**PARAMS, "dry_run": True}, TI)
