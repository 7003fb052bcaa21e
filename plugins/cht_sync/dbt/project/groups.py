"""Splits the models into the groups of ``DBT_SELECTOR``, which run one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from cht_sync.dbt.project.graph import TAKES_BATCHES, Graph
from cht_sync.dbt.project.manifest import reachable
from cht_sync.dbt.project.selection import selected
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class ModelGroup:
    """Models that one dbt process runs.

    :param name: for the id of a task group.
    :param selector: as ``DBT_SELECTOR`` has it; empty for all models.
    :param threads: models built at once.
    :param takes_batches: whether ``DBT_BATCH_SIZE`` counts: in the group by which batches are followed.
    """

    name: str
    selector: str
    models: frozenset[str]
    threads: int
    takes_batches: bool = True


def model_groups(graph: Graph, settings: Settings) -> list[ModelGroup]:
    """The groups in their order; a model belongs to the first one that selects it.

    What the hooks of the project read is added to the first group: without it the first run on an empty database
    fails at its end.

    :raises SettingsError: if an expression cannot be understood or means no model, if a group has no model of its
        own, or if a model reads one of a later group.
    """
    selectors = settings.dbt_groups
    names = _names(selectors)
    groups: list[ModelGroup] = []
    taken: set[str] = set()
    for name, selector, threads in zip(names, selectors, settings.dbt_thread_counts, strict=True):
        models = selected(graph, selector) | (hook_models(graph) if not groups else set())
        if not models - taken:
            raise SettingsError(
                f"Group {selector!r} of DBT_SELECTOR has no model of its own: earlier groups hold all that it selects;"
                " take it out, or put it first."
            )
        groups.append(ModelGroup(name, selector, frozenset(models - taken), threads))
        taken |= models
    _check_order(graph, groups)
    if len(groups) == 1:
        return groups
    # Others would take one batch while that group takes many, and stay behind unnoticed.
    followed = {model for model in graph["nodes"] if _name(graph, model) == TAKES_BATCHES}
    return [replace(group, takes_batches=bool(followed & group.models)) for group in groups]


def hook_models(graph: Graph) -> set[str]:
    """The models that hooks at the start or end of a run read, with those that these are made of."""
    parents = {name: node["depends_on"]["nodes"] for name, node in graph["nodes"].items()}
    return set(reachable(graph.get("hooks", ()), parents)) & set(parents)


def chosen_models(graph: Graph, settings: Settings) -> set[str]:
    """The models that any group runs; a SettingsError where an expression cannot be understood or means no model."""
    return hook_models(graph).union(*(selected(graph, one) for one in settings.dbt_selectors or [""]))


def _names(selectors: Iterable[str]) -> list[str]:
    names: list[str] = []
    for number, selector in enumerate(selectors, 1):
        name = re.sub(r"\W+", "_", selector, flags=re.ASCII).strip("_")[:LONGEST_NAME].strip("_") or "group"
        names.append(f"{name}_{number}" if name in names else name)
    return names


def _check_order(graph: Graph, groups: list[ModelGroup]) -> None:
    place = {model: number for number, group in enumerate(groups) for model in group.models}
    for number, group in enumerate(groups):
        for model in sorted(group.models):
            for parent in graph["nodes"][model]["depends_on"]["nodes"]:
                if place.get(parent, 0) > number:
                    raise SettingsError(
                        f"DBT_SELECTOR cannot be used: {_name(graph, model)} of group {group.selector!r} reads"
                        f" {_name(graph, parent)}, which is in the later group {groups[place[parent]].selector!r}:"
                        " change the order of the groups, or join them by a space."
                    )


def _name(graph: Graph, model: str) -> str:
    return str(graph["nodes"][model]["name"])
