"""Evaluates ``DBT_SELECTOR`` while a DAG is drawn, without dbt; what only dbt knows it has said before."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase
from typing import Any

from cht_sync.dbt.project.graph import Graph
from cht_sync.dbt.project.manifest import Node, reachable, reversed_edges
from cht_sync.errors import SettingsError

ATOM = re.compile(r"(?P<at>@)?(?P<before>\d*\+)?(?:(?P<method>[\w.]+):)?(?P<value>[^\s,+@:]+)(?P<after>\+\d*)?")


def selected(graph: Graph, expression: str) -> set[str]:
    """The models that a dbt ``--select`` expression means; all for an empty one.

    Known are names of models, folders and packages with ``*``, ``fqn:``, ``tag:``, ``package:``,
    ``config.materialized:``, ``config.tags:``, ``resource_type:model`` and ``selector:``, with ``+`` and ``@``,
    a comma for both and a space for either. Everything else that dbt takes was resolved by dbt itself when the version
    was built or deployed: :mod:`cht_sync.dbt.launch.resolved_selectors`.
    Source: https://docs.getdbt.com/reference/node-selection/syntax

    :raises SettingsError: if it cannot be understood here, or means no model.
    """
    found = _Selection(graph, expression).union(expression.split()) if expression else set(graph["nodes"])
    if not found:
        what = f"DBT_SELECTOR={expression!r} selects no model of" if expression else "There is no model in"
        raise SettingsError(f"{what} the installed dbt project: look at its names and tags, then change the setting.")
    return found


def unresolved(graph: Graph, expression: str) -> list[str]:
    """The parts of an expression that only dbt can resolve, and has not resolved yet."""
    selection = _Selection(graph, expression)
    return [atom for term in expression.split() for atom in term.split(",") if not selection.knows(atom)]


class _Selection:
    def __init__(self, graph: Graph, expression: str) -> None:
        self._models = graph["nodes"]
        self._selectors = graph["selectors"]
        self._expression = expression
        self._snapshots = bool(graph.get("snapshots"))
        self._told = graph.get("selections", {})
        self._parents = {
            name: [parent for parent in node["depends_on"]["nodes"] if parent in self._models]
            for name, node in self._models.items()
        }
        self._children = reversed_edges(self._parents)

    def union(self, terms: Iterable[str]) -> set[str]:
        return {name for term in terms for name in set.intersection(*map(self._atom, term.split(",")))}

    def knows(self, text: str) -> bool:
        """Whether a part of the expression can be told here; where it means no model, it may name something else."""
        try:
            return text in self._told or bool(self._own(text))
        except SettingsError:
            return False

    def _atom(self, text: str) -> set[str]:
        return set(self._told[text]) & set(self._models) if text in self._told else self._own(text)

    def _own(self, text: str) -> set[str]:
        match = ATOM.fullmatch(text)
        if not match or (match["at"] and (match["before"] or match["after"])):
            raise self._unknown(text)
        if self._snapshots and any(_depth(match[side]) for side in ("before", "after")):
            raise self._unknown(text)  # a snapshot in between is a step, and not drawn
        found = self._method(match["method"] or "fqn", match["value"])
        if match["at"]:
            return self._with_parents_of_children(found)
        before = reachable(found, self._parents, _depth(match["before"]))
        return {*before, *reachable(found, self._children, _depth(match["after"]))}

    def _with_parents_of_children(self, models: set[str]) -> set[str]:
        return set(reachable(reachable(models, self._children), self._parents))

    def _method(self, method: str, value: str) -> set[str]:
        tests: dict[str, Callable[[Node], bool]] = {
            "fqn": lambda node: _fqn_matches(node["fqn"], value),
            "tag": lambda node: any(fnmatchcase(tag, value) for tag in node["tags"]),
            "config.tags": lambda node: any(fnmatchcase(tag, value) for tag in node["tags"]),
            "config.materialized": lambda node: fnmatchcase(node["config"]["materialized"], value),
            "package": lambda node: fnmatchcase(node["package_name"], value),
            "resource_type": lambda _: value in {"model", "all"},
        }
        if method == "selector" and value in self._selectors:
            return self._definition(self._selectors[value]["definition"])
        if method not in tests:
            raise self._unknown(f"{method}:{value}")
        return {name for name, node in self._models.items() if tests[method](node)}

    def _definition(self, one: Any) -> set[str]:
        """Source: https://docs.getdbt.com/reference/node-selection/yaml-selectors, in the form of the manifest."""
        if isinstance(one, str):
            return self._atom(one)
        for word, combine in (("union", set.union), ("intersection", set.intersection)):
            if word in one:
                parts = [part for part in one[word] if "exclude" not in part or len(part) > 1]
                out = [part["exclude"] for part in one[word] if "exclude" in part and len(part) == 1]
                found = combine(*(self._definition(part) for part in parts))
                return found - {name for group in out for part in group for name in self._definition(part)}
        known = {"method", "value", "parents", "children", "parents_depth", "children_depth", "childrens_parents"}
        if "method" not in one or not set(one) <= known | {"exclude", "indirect_selection"}:
            raise self._unknown(str(one))
        found = self._method(one["method"], str(one["value"]))
        parents = one.get("parents_depth", None) if one.get("parents") else 0
        children = one.get("children_depth", None) if one.get("children") else 0
        if one.get("childrens_parents"):
            found = self._with_parents_of_children(found)
        else:
            found = {*reachable(found, self._parents, parents), *reachable(found, self._children, children)}
        return found - {name for part in one.get("exclude", ()) for name in self._definition(part)}

    def _unknown(self, text: str) -> SettingsError:
        return SettingsError(
            f"DBT_SELECTOR={self._expression!r} cannot be used yet because of {text!r}, which dbt has to resolve: "
            "trigger the DAG cht_pipeline_deploy, or run `python -m cht_sync pipeline`."
        )


def _depth(sign: str | None) -> int | None:
    digits = (sign or "0").strip("+")
    return int(digits) if digits else None


def _fqn_matches(fqn: list[str], value: str) -> bool:
    """A model's own name, or the start of its path with or without the package; wildcards match the rest.

    Source: ``is_selected_node`` in ``dbt/graph/selector_methods.py``.
    """
    return any(_path_matches(path, value) for path in (fqn, fqn[1:]) if path)


def _path_matches(path: list[str], value: str) -> bool:
    if path[-1] == value:
        return True
    wanted, parts = value.split("."), ".".join(path).split(".")
    if len(parts) < len(wanted):
        return False
    for place, want in enumerate(wanted):
        if any(sign in want for sign in "*?[]"):
            rest = fnmatchcase(".".join(parts[place:]), ".".join(wanted[place:]))
            return rest or ("." not in value and fnmatchcase(path[-1], value))
        if parts[place] != want:
            return False
    return True
