"""Makes dbt build some models in another schema, without a change to the project."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from cht_sync.dbt.project.manifest import reachable
from cht_sync.dbt.subprocess.references import model_of, pointed_to_staging, target_of
from cht_sync.dbt.subprocess.sql_text import Place

TAG = "cht_sync_built_aside"
PACKAGES_OF_DBT = {"dbt", "dbt_postgres"}


def move_to_staging(
    manifest: Any, members: Collection[str], schemas: Mapping[str, str]
) -> tuple[dict[Place, str], str]:
    """Moves models of a parsed project to staging schemas.

    ``ref()`` and ``this`` follow the schema of the node; a foreign key is text, and follows here. One to a table that
    stays would hold up whoever writes there until the model is built: the swap makes it. What runs at the end of a run
    writes about the models in use, so it is left to the next ordinary run.

    :param manifest: dbt's ``Manifest``, changed in place.
    :param members: unique ids of the models.
    :param schemas: the staging schema for each schema of a model.
    :return: the staging schema for schema and name of each relation that moves; the database.
    """
    nodes = manifest.nodes
    _put_in_order(manifest, members)
    moved = {(nodes[name].schema, nodes[name].alias): schemas[nodes[name].schema] for name in members}
    names = {nodes[name].name for name in members}
    for name in members:
        node = nodes[name]
        node.schema = schemas[node.schema]
        if node.relation_name:
            node.relation_name = ".".join(f'"{part}"' for part in (node.database, node.schema, node.alias) if part)
        node.tags.append(TAG)
        for holder in (node, *node.columns.values()):
            if not getattr(holder, "constraints", None):
                continue  # a seed has none
            holder.constraints = [one for one in holder.constraints if not _points_outside(one, moved, names)]
            for constraint in holder.constraints:
                _point(constraint, moved)
    for name, node in list(nodes.items()):
        if node.resource_type == "operation" and "on-run-end" in node.tags:
            del nodes[name]
    return moved, next((nodes[name].database for name in members), "")


def _put_in_order(manifest: Any, members: Collection[str]) -> None:
    """Builds models after those whose tables they name without ``ref()``, as tables in a staging schema begin empty."""
    nodes = manifest.nodes
    mentions = {name: re.compile(rf'\.\s*\\?"?{re.escape(nodes[name].alias)}(?![\w$])', re.I) for name in members}
    # A seed stands upon nothing.
    above = {name: {one for one in getattr(nodes[name].depends_on, "nodes", ()) if one in members} for name in members}
    for name in sorted(name for name in members if nodes[name].resource_type != "seed"):
        text = "\n".join(_texts(manifest, nodes[name]))
        for other in sorted(set(members) - {name} - above[name]):
            if mentions[other].search(text) and name not in reachable([other], above):
                above[name].add(other)
                nodes[name].depends_on.nodes.append(other)


def _texts(manifest: Any, node: Any) -> Iterator[str]:
    """What a model runs: its own text, its hooks, and the macros that it uses."""
    yield getattr(node, "raw_code", "") or ""
    for hook in (*getattr(node.config, "pre_hook", ()), *getattr(node.config, "post_hook", ())):
        yield hook.sql
    macros = {name: each for name, each in manifest.macros.items() if each.package_name not in PACKAGES_OF_DBT}
    used = {name: each.depends_on.macros for name, each in macros.items()}
    yield from (
        macros[name].macro_sql for name in reachable(getattr(node.depends_on, "macros", ()), used) if name in macros
    )


def _is_foreign_key(constraint: Any) -> bool:
    return str(getattr(constraint.type, "value", constraint.type)) == "foreign_key"


def _points_outside(constraint: Any, moved: Mapping[tuple[str, str], str], names: Collection[str]) -> bool:
    if not _is_foreign_key(constraint):
        return False
    to = getattr(constraint, "to", None) or ""
    if model := model_of(to):
        return model not in names
    target = target_of(to or constraint.expression or "")
    # A table without a schema is found by whoever builds the model only.
    return target is not None and bool(target.schema) and (target.schema, target.table) not in moved


def _point(constraint: Any, moved: Mapping[tuple[str, str], str]) -> None:
    if constraint.expression:
        constraint.expression = pointed_to_staging(constraint.expression, moved, _is_foreign_key(constraint))
    if getattr(constraint, "to", None):
        constraint.to = pointed_to_staging(constraint.to, moved, whole=True)
