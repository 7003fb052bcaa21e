"""What of dbt's manifest is needed to draw the models and their tests."""

from __future__ import annotations

from typing import Any

Graph = dict[str, Any]
# Versions that were built with another form are built anew.
FORM = 3


def drawable(manifest: dict[str, Any]) -> Graph:
    """The part of a manifest that is drawn: enabled models, data tests, selectors by name, and what hooks read.

    It holds no path of this machine, no time and no name of a database, so that equal projects give equal parts.
    Source: ``_build_dbt_node_from_manifest_resource`` in ``cosmos/dbt/graph.py``.
    """
    nodes = sorted(manifest["nodes"].items())
    selectors = {name: {"definition": one["definition"]} for name, one in sorted(manifest["selectors"].items())}
    # dbt keeps the hooks of a project, on-run-start and on-run-end, as nodes of this type.
    hooks = {parent for _, node in nodes if node["resource_type"] == "operation" for parent in _models_of(node)}
    return {
        "metadata": {"project_name": manifest["metadata"]["project_name"]},
        "nodes": {name: _model(node, manifest["nodes"]) for name, node in nodes if node["resource_type"] == "model"},
        "snapshots": [name for name, node in nodes if node["resource_type"] == "snapshot"],
        "tests": {name: _test(node) for name, node in nodes if node["resource_type"] == "test"},
        "hooks": sorted(hooks),
        "python": {name: node["original_file_path"] for name, node in nodes if node.get("language") == "python"},
        "selectors": selectors,
    }


def _models_of(node: dict[str, Any]) -> list[str]:
    return [parent for parent in node["depends_on"]["nodes"] if parent.startswith("model.")]


def _test(node: dict[str, Any]) -> dict[str, Any]:
    models = _models_of(node)
    # A test that is written as SQL of its own belongs to the first model that it reads.
    model = node.get("attached_node") or next(iter(models), None)
    return {"name": node["name"], "model": model, "models": models}


def _parents(node: dict[str, Any], nodes: dict[str, Any]) -> list[str]:
    """What a model reads; in place of a snapshot, which is not drawn, what that is made of."""
    found: list[str] = []
    waiting = list(node["depends_on"]["nodes"])
    while waiting:
        parent = waiting.pop(0)
        if parent.startswith("snapshot.") and parent in nodes:
            waiting += nodes[parent]["depends_on"]["nodes"]
        elif parent not in found:
            found.append(parent)
    return found


def _model(node: dict[str, Any], nodes: dict[str, Any]) -> dict[str, Any]:
    config = node["config"]
    meta = {"meta": config["meta"]} if config.get("meta") else {}
    return {
        "name": node["name"],
        "alias": node["alias"],
        "description": node.get("description", ""),
        "resource_type": "model",
        "package_name": node["package_name"],
        "original_file_path": node["original_file_path"],
        "fqn": node["fqn"],
        "tags": node["tags"],
        "config": {"materialized": config["materialized"], "tags": node["tags"], **meta},
        "depends_on": {"nodes": _parents(node, nodes)},
    }


# The model through which documents come in, in cht-pipeline, in the starter and in all that is built on them.
TAKES_BATCHES = "document_metadata"
