"""The parts of dbt's manifest that are read, and what depends on what in it.

Not by networkx, which dbt brings: it takes up to a quarter of a second to import, and two of these walks are part of
parsing a DAG file. graphlib orders a graph and does not walk it.
Source: https://docs.getdbt.com/reference/artifacts/manifest-json
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

Edges = Mapping[str, Iterable[str]] | Callable[[str], Iterable[str]]
# JSON proper knows neither; both come from YAML, as `.nan` and "\0".
_ODD = re.compile(r"\bNaN\b|\bInfinity\b|\\u0000|\\u[dD][89a-fA-F]")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class DependsOn(TypedDict, total=False):
    """Unique ids of what a node or macro uses; a seed uses no nodes."""

    nodes: list[str]
    macros: list[str]


class Node(TypedDict, total=False):
    """A model, seed, snapshot, data test or hook."""

    unique_id: str
    resource_type: str
    package_name: str
    name: str
    schema: str
    alias: str
    fqn: list[str]
    tags: list[str]
    description: str
    original_file_path: str
    language: str
    raw_code: str
    attached_node: str | None
    config: dict[str, Any]
    columns: dict[str, dict[str, Any]]
    constraints: list[dict[str, Any]]
    depends_on: DependsOn


class Macro(TypedDict):
    """A macro of the project, of one of its packages or of dbt itself."""

    name: str
    package_name: str
    macro_sql: str
    depends_on: DependsOn


class Manifest(TypedDict, total=False):
    """The content of ``manifest.json``; nodes and macros by unique id."""

    metadata: dict[str, Any]
    nodes: dict[str, Node]
    macros: dict[str, Macro]
    selectors: dict[str, Any]


def parents_of(nodes: Mapping[str, Node]) -> dict[str, list[str]]:
    """What each node reads, sources too."""
    return {name: node.get("depends_on", {}).get("nodes", []) for name, node in nodes.items()}


def reversed_edges(edges: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """Children in place of parents."""
    found: dict[str, list[str]] = {}
    for name, others in edges.items():
        for other in others:
            found.setdefault(other, []).append(name)
    return found


def reachable(start: Iterable[str], edges: Edges, depth: int | None = None) -> list[str]:
    """The start and all that edges lead to from there, the nearest first; names without edges lead nowhere.

    :param depth: how many edges to follow at most; None for any number.
    """
    follow = edges if callable(edges) else lambda name: edges.get(name, ())
    found = dict.fromkeys(start)
    newest = list(found)
    while newest and depth != 0:
        newest = [each for each in dict.fromkeys(one for name in newest for one in follow(name)) if each not in found]
        found.update(dict.fromkeys(newest))
        depth = None if depth is None else depth - 1
    return list(found)


def storable_json(text: str) -> str:
    """The same JSON, with a text in place of a number that is none, and U+FFFD for characters that no jsonb holds.

    Source: https://www.postgresql.org/docs/current/datatype-json.html
    """
    if not _ODD.search(text):
        return text
    return json.dumps(_clean(json.loads(text, parse_constant=str)))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(one) for name, one in value.items()}
    return value
