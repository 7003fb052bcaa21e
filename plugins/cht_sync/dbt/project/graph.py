"""What of dbt's manifest is needed to draw the models and their tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from cht_sync.dbt.project.manifest import Manifest, Node, reachable

# Versions that were built with another form are built again.
FORM = 3


class DataTest(TypedDict):
    """A data test: the model that it belongs to, None for one of a source, and all that it reads, by unique id."""

    name: str
    model: str | None
    models: list[str]


class Graph(TypedDict, total=False):
    """The content of ``graph.json``: names are unique ids.

    :param hooks: models that hooks at the start or end of a run read.
    :param python: path of each node that is written in Python.
    :param selections: models of parts of ``DBT_SELECTOR``, as dbt has resolved them.
    """

    metadata: dict[str, str]
    nodes: dict[str, Node]
    snapshots: list[str]
    tests: dict[str, DataTest]
    hooks: list[str]
    python: dict[str, str]
    selectors: dict[str, Any]
    selections: dict[str, list[str]]


def drawable(manifest: Manifest) -> Graph:
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


def _models_of(node: Node) -> list[str]:
    return [parent for parent in node["depends_on"]["nodes"] if parent.startswith("model.")]


def _test(node: Node) -> DataTest:
    models = _models_of(node)
    # A test that is written as SQL of its own belongs to the first model that it reads.
    model = node.get("attached_node") or next(iter(models), None)
    return {"name": node["name"], "model": model, "models": models}


def _parents(node: Node, nodes: Mapping[str, Node]) -> list[str]:
    """What a model reads; in place of a snapshot, which is not drawn, what that is made of."""
    snapshots = {name: one["depends_on"]["nodes"] for name, one in nodes.items() if name.startswith("snapshot.")}
    return [name for name in reachable(node["depends_on"]["nodes"], snapshots) if name not in snapshots]


def _model(node: Node, nodes: Mapping[str, Node]) -> Node:
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
