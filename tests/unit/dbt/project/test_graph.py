import json

from cht_sync.dbt.project.graph import drawable
from cht_sync.dbt.project.version import STARTER_GRAPH

NODE = {
    "name": "contact",
    "alias": "contact",
    "description": "People.",
    "resource_type": "model",
    "package_name": "p",
    "original_file_path": "models/contact.sql",
    "root_path": "/home/me/p",
    "database": "cht",
    "schema": "v1",
    "fqn": ["p", "contact"],
    "tags": ["base"],
    "config": {"materialized": "table", "meta": {"owner": "me"}, "enabled": True},
    "depends_on": {"nodes": ["source.p.raw"], "macros": ["macro.p.x"]},
}
MANIFEST = {
    "metadata": {"project_name": "w", "generated_at": "now", "user_id": "me"},
    "nodes": {
        "test.p.x": {**NODE, "resource_type": "test", "name": "x", "attached_node": "model.p.contact"},
        "test.p.y": {**NODE, "resource_type": "test", "name": "y", "depends_on": {"nodes": ["model.p.contact"]}},
        "operation.p.p-on-run-end-0": {
            **NODE,
            "resource_type": "operation",
            "depends_on": {"nodes": ["model.p.contact", "source.p.raw"], "macros": ["macro.p.x"]},
        },
        "model.p.contact": NODE,
    },
    "selectors": {"s": {"name": "s", "definition": {"method": "tag", "value": "base"}}},
}


def test_only_models_stay_and_nothing_of_this_machine():
    graph = drawable(MANIFEST)
    assert list(graph["nodes"]) == ["model.p.contact"]
    text = json.dumps(graph)
    assert not any(word in text for word in ("/home", "now", "v1", "user_id", "macro"))
    assert graph["selectors"] == {"s": {"definition": {"method": "tag", "value": "base"}}}


def test_tests_belong_to_a_model_and_hooks_tell_what_they_read():
    graph = drawable(MANIFEST)
    assert graph["tests"] == {
        "test.p.x": {"name": "x", "model": "model.p.contact", "models": []},
        "test.p.y": {"name": "y", "model": "model.p.contact", "models": ["model.p.contact"]},
    }
    assert graph["hooks"] == ["model.p.contact"]


def test_the_kept_drawing_holds_no_path():
    text = STARTER_GRAPH.read_text()
    assert "model.cht_starter.contact" in text
    assert '"/' not in text
