"""Makes dbt build some models in another schema, without a change to the project."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cht_sync.pipeline.aside.references import model_of, pointed_aside, target_of

TAG = "cht_sync_built_aside"


def set_aside(manifest: Any, members: Collection[str], schemas: Mapping[str, str]) -> None:
    """Moves models of a parsed project to schemas aside.

    ``ref()`` and ``this`` follow the schema of the node; a foreign key is text, and follows here. One to a table that
    stays would hold up whoever writes there until the model is built: the swap makes it. What runs at the end of a run
    writes about the models that people see, so it waits for the next ordinary run.

    :param manifest: dbt's ``Manifest``, changed in place.
    :param members: unique ids of the models.
    :param schemas: the schema aside for each schema of a model.
    """
    nodes = manifest.nodes
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
    for name in [name for name, node in nodes.items() if _at_end(node)]:
        del nodes[name]


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
        constraint.expression = pointed_aside(constraint.expression, moved, _is_foreign_key(constraint))
    if getattr(constraint, "to", None):
        constraint.to = pointed_aside(constraint.to, moved, whole=True)


def _at_end(node: Any) -> bool:
    return node.resource_type == "operation" and "on-run-end" in node.tags
