from types import SimpleNamespace

import pytest

from cht_sync.dbt.operators.model_events import ModelEvents
from cht_sync.dbt.tables.model_results import ModelResult

CONTACT = "model.p.contact"
KEY = "model__p__contact_status"
NODE = SimpleNamespace(node_relation=SimpleNamespace(database="cht", schema="v1", alias="contact"))


class Ti:
    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


def result(status="success", message="INSERT 0 3"):
    return ModelResult(CONTACT, "contact", status, message)


@pytest.mark.parametrize("namespace", ["postgres://db:5432", None])
def test_one_xcom_tells_how_a_model_ended(namespace):
    ti = Ti()
    ModelEvents(ti, namespace).push_result(result(), NODE)
    uris = ["postgres://db:5432/cht/v1/contact"] if namespace else []
    assert ti.pushed == {KEY: {"status": "success", "outlet_uris": uris, "message": "INSERT 0 3"}}


def test_a_model_behind_a_failed_one_counts_as_failed():
    ti = Ti()
    ModelEvents(ti, None).push_result(result("skipped"), NODE)
    assert ti.pushed[KEY]["status"] == "failed"


def test_a_success_is_kept_while_dbt_runs_again_and_a_failure_is_not():
    ti = Ti()
    events = ModelEvents(ti, None)
    events.keep = True
    events.push_result(result(), NODE)
    assert ti.pushed == {}
    events.push_kept()
    assert ti.pushed[KEY]["status"] == "success"
    events.push_result(result(), NODE)
    events.push_result(result("error"), NODE)
    events.push_kept()
    assert ti.pushed[KEY]["status"] == "error"


def test_models_that_wait_are_told_why():
    ti = Ti()
    ModelEvents(ti, None).push_not_run({CONTACT}, "person fails")
    assert ti.pushed == {KEY: {"status": "held", "outlet_uris": [], "message": "person fails"}}


def test_models_of_forms_have_one_task_and_no_xcom_each():
    ti = Ti()
    events = ModelEvents(ti, None, {CONTACT})
    events.keep = True
    events.push_result(result(), NODE)
    assert events.forms == {CONTACT: ("success", result().message)}
    events.push_not_run({CONTACT}, "data_record fails")
    events.push_kept()
    assert events.forms == {CONTACT: ("held", "data_record fails")}
    assert not ti.pushed
