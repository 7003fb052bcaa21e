from types import SimpleNamespace

import pytest

from cht_sync.pipeline.operators.model_events import ModelEvents


class Ti:
    def __init__(self):
        self.pushed = {}

    def xcom_push(self, key, value):
        self.pushed[key] = value


def event(name, status="success", resource_type="model", message="INSERT 0 3"):
    table = SimpleNamespace(database="cht", schema="v1", alias="contact")
    node = SimpleNamespace(
        unique_id="model.p.contact", resource_type=resource_type, node_status=status, node_relation=table
    )
    data = SimpleNamespace(node_info=node, run_result=SimpleNamespace(message=message))
    return SimpleNamespace(info=SimpleNamespace(name=name), data=data)


@pytest.mark.parametrize("namespace", ["postgres://db:5432", None])
def test_one_xcom_tells_how_a_model_ended(namespace):
    ti = Ti()
    events = ModelEvents(ti, namespace)
    for name in ("NodeStart", "SQLQuery", "NodeFinished"):
        events(event(name))
    uris = ["postgres://db:5432/cht/v1/contact"] if namespace else []
    told = {"status": "success", "outlet_uris": uris, "message": "INSERT 0 3"}
    assert ti.pushed == {"model__p__contact_status": told}


def test_a_model_behind_a_failed_one_counts_as_failed():
    ti = Ti()
    events = ModelEvents(ti, None)
    events(event("SkippingDetails", "skipped"))
    events(event("NodeFinished", "skipped"))
    assert ti.pushed["model__p__contact_status"]["status"] == "failed"


def test_hooks_are_no_models():
    ti = Ti()
    ModelEvents(ti, None)(event("NodeFinished", resource_type="operation"))
    assert ti.pushed == {}


def test_an_error_is_kept_for_later():
    class Broken:
        def xcom_push(self, **_):
            raise RuntimeError("no server")

    events = ModelEvents(Broken(), None)
    events(event("NodeFinished"))
    assert str(events.error) == "no server"
