"""What of dbt's manifest is needed to draw the models."""

from __future__ import annotations

from typing import Any

Graph = dict[str, Any]


def drawable(manifest: dict[str, Any]) -> Graph:
    """The part of a manifest that Cosmos draws from: enabled models, and selectors by name.

    It holds no path of this machine, no time and no name of a database, so that equal projects give equal parts.
    Source: ``_build_dbt_node_from_manifest_resource`` in ``cosmos/dbt/graph.py``.

    :param manifest: content of ``manifest.json``.
    """
    models = {
        name: _model(node) for name, node in sorted(manifest["nodes"].items()) if node["resource_type"] == "model"
    }
    selectors = {name: {"definition": one["definition"]} for name, one in sorted(manifest["selectors"].items())}
    project = manifest["metadata"]["project_name"]
    return {"metadata": {"project_name": project}, "nodes": models, "selectors": selectors}


def _model(node: dict[str, Any]) -> dict[str, Any]:
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
        "depends_on": {"nodes": node["depends_on"]["nodes"]},
    }
