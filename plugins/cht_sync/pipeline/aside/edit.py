"""Makes dbt build some models in another schema, without a change to the project."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from cht_sync.pipeline.aside.references import pointed_aside

TAG = "cht_sync_built_aside"


def set_aside(manifest: Any, members: Collection[str], schemas: Mapping[str, str]) -> None:
    """Moves models of a parsed project to schemas aside.

    ``ref()`` and ``this`` follow the schema of the node; a foreign key is text, and follows here. What runs at the end
    of a run writes about the models that people see, so it waits for the next ordinary run.

    :param manifest: dbt's ``Manifest``, changed in place.
    :param members: unique ids of the models.
    :param schemas: the schema aside for each schema of a model.
    """
    nodes = manifest.nodes
    moved = {(nodes[name].schema, nodes[name].alias): schemas[nodes[name].schema] for name in members}
    for name in members:
        _move(nodes[name], schemas, moved)
    for name in [name for name, node in nodes.items() if _at_end(node)]:
        del nodes[name]


def _move(node: Any, schemas: Mapping[str, str], moved: Mapping[tuple[str, str], str]) -> None:
    node.schema = schemas[node.schema]
    if node.relation_name:
        node.relation_name = ".".join(f'"{part}"' for part in (node.database, node.schema, node.alias) if part)
    node.tags.append(TAG)
    for constraint in [*node.constraints, *(one for column in node.columns.values() for one in column.constraints)]:
        whole = str(getattr(constraint.type, "value", constraint.type)) == "foreign_key"
        if constraint.expression:
            constraint.expression = pointed_aside(constraint.expression, moved, whole)
        if getattr(constraint, "to", None):
            constraint.to = pointed_aside(constraint.to, moved, whole=True)


def _at_end(node: Any) -> bool:
    return node.resource_type == "operation" and "on-run-end" in node.tags
