"""What a rebuild needs to know of the models of a project, from dbt's manifest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cht_sync.dbt.project.manifest import Manifest, Node, parents_of, reachable, reversed_edges
from cht_sync.dbt.project.version import INSTALL
from cht_sync.dbt.subprocess.references import model_of, target_of
from cht_sync.errors import SettingsError

# Materializations that dbt makes a relation for; a project may have others, which need not make any.
RELATIONS = {"table", "incremental", "view", "materialized_view", "seed", "snapshot"}
LONGEST_NAME = 63
SUFFIX = "__next"


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A foreign key that the contract of a model declares.

    :param schema: schema of the table it points to; empty where the contract names none.
    :param target_columns: columns there; empty for its primary key.
    :param cascades: whether deletes are carried on.
    :param expression: what follows ``references`` in the contract; empty where it names the parts.
    """

    columns: tuple[str, ...]
    schema: str
    table: str
    target_columns: tuple[str, ...]
    cascades: bool
    expression: str = ""


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a built version; SettingsError if there is none."""
    path = folder / "target" / "manifest.json"
    try:
        manifest: Manifest = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({type(error).__name__}): {INSTALL} --force.") from None
    return manifest


def models(manifest: Manifest) -> dict[str, Node]:
    """The models that have, or may have, a relation, and the seeds, by unique id."""
    return {
        name: node
        for name, node in manifest["nodes"].items()
        if node["resource_type"] == "seed"
        or (node["resource_type"] == "model" and node["config"]["materialized"] != "ephemeral")
    }


def tables(manifest: Manifest) -> dict[str, Node]:
    """The same and the snapshots, by unique id."""
    snapshots = {name: node for name, node in manifest["nodes"].items() if node["resource_type"] == "snapshot"}
    return {**models(manifest), **snapshots}


def descendants(manifest: Manifest, start: Iterable[str]) -> set[str]:
    """Models and all that depend on them."""
    return set(reachable(start, reversed_edges(parents_of(manifest["nodes"]))))


def constrained(node: Node) -> bool:
    """Whether dbt makes the constraints of a model: it does so for tables with an enforced contract.

    Source: https://docs.getdbt.com/reference/resource-properties/constraints
    """
    enforced = (node["config"].get("contract") or {}).get("enforced")
    return bool(enforced) and node["config"]["materialized"] in {"table", "incremental"}


def constraints(node: Node) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The constraints that a model declares, each with its columns."""
    for column in node["columns"].values():
        for constraint in column.get("constraints") or ():
            yield (column["name"],), constraint
    for constraint in node.get("constraints") or ():
        yield tuple(constraint.get("columns") or ()), constraint


def constraint_texts(node: Node) -> set[str]:
    """The constraints that dbt makes for a model, other than foreign keys, as :func:`constraint_text` has them."""
    place = f"{node['schema']}.{node['alias']}"
    return {
        constraint_text(place, constraint["type"], names)
        for columns, constraint in (constraints(node) if constrained(node) else ())
        for names in (columns, (constraint.get("name") or "",))
        if all(names) and constraint["type"] != "foreign_key"
    }


def constraint_text(place: str, kind: str, names: Iterable[str]) -> str:
    """A constraint for comparisons and messages.

    :param place: ``schema.name`` of its relation.
    :param names: of its columns, or its own one.
    """
    return f"{place}: {kind} ({', '.join(sorted(names))})"


def foreign_keys(manifest: Manifest, node: Node) -> list[ForeignKey]:
    """The foreign keys that a model declares."""
    found = []
    for columns, constraint in constraints(node):
        if constraint["type"] != "foreign_key":
            continue
        to, to_columns = constraint.get("to") or "", tuple(constraint.get("to_columns") or ())
        model = model_of(to)
        if named := next((each for each in models(manifest).values() if model and each["name"] == model), None):
            found.append(ForeignKey(columns, named["schema"], named["alias"], to_columns, False))
        elif target := target_of(to or constraint.get("expression") or ""):
            there = to_columns or target.columns
            text = "" if to else constraint["expression"]
            found.append(ForeignKey(columns, target.schema, target.table, there, target.cascades, text))
    return found


def staging_schema(schema: str) -> str:
    """The schema where models of a schema are built before they are swapped in."""
    if len((schema + SUFFIX).encode()) <= LONGEST_NAME:
        return schema + SUFFIX
    # A name that Postgres would cut could be that of the schema itself.
    mark = hashlib.sha256(schema.encode()).hexdigest()[:8] + SUFFIX
    return schema.encode()[: LONGEST_NAME - len(mark)].decode(errors="ignore") + mark
