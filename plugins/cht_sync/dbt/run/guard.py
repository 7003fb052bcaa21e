"""Which models wait while another fails, so that no reader loses rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.project.lineage import Lineage
from cht_sync.dbt.project.manifest import reachable

Relation = tuple[str, str]
# These write over an edited row; all others delete it first, and a cascade takes dependent rows along.
# Source: https://docs.getdbt.com/docs/build/incremental-strategy
GENTLE = {"merge", "append", "upsert"}
_CASCADES = """
select child_schema.nspname, child.relname, parent_schema.nspname, parent.relname
from pg_constraint c
join pg_class child on child.oid = c.conrelid
join pg_namespace child_schema on child_schema.oid = child.relnamespace
join pg_class parent on parent.oid = c.confrelid
join pg_namespace parent_schema on parent_schema.oid = parent.relnamespace
where c.contype = 'f' and c.confdeltype = 'c' and c.conrelid <> c.confrelid
"""


def cascades(cursor: Cursor) -> set[tuple[Relation, Relation]]:
    """Foreign keys of the database through which a delete in one table reaches another, as (child, parent)."""
    cursor.execute(_CASCADES)
    return {((a, b), (c, d)) for a, b, c, d in cursor}


def unsafe_to_run(failing: Collection[str], lineage: Lineage, keys: set[tuple[Relation, Relation]]) -> set[str]:
    """Models that must not run while others fail: those whose deletes would reach a failing one's table.

    dbt's ``delete+insert`` deletes an edited row before it writes it again. The cascade takes the row out of every
    dependent table, and a model that fails, or that is behind one that fails, does not put it back.

    :param keys: from :func:`cascades`.
    """
    owners: Mapping[Relation, str] = {relation: model for model, relation in lineage.relations.items()}
    parents: dict[str, set[str]] = {}
    for child, parent in keys:
        if child in owners and parent in owners:
            parents.setdefault(owners[child], set()).add(owners[parent])
    stopped = lineage.descendants(failing)
    return {
        model for model in set(reachable(stopped, parents)) - stopped if lineage.strategies.get(model) not in GENTLE
    }
