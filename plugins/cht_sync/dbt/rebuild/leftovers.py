"""Refuses what was built in the staging schemas and depends on a relation that goes with the swap."""

from __future__ import annotations

from collections.abc import Collection

from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.dependent_views import views_over
from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.relation import Relation

_BY_NAME = (
    "The view {view} reads {table} by its name, so that nobody knows which of the two is built first, nothing was"
    " changed: write ref() in its place, also in the views between them."
)
_ON_PASSING = (
    "{thing} hangs on {table}, which a hook or macro has made in the schema where models are built before they replace"
    " those in use, and which goes with it, nothing was changed: make it a model and read it by ref(), or name its"
    " schema."
)
# What depends on a relation of the staging schemas that is no model; a table that a row was read from does not.
_LEFT_BEHIND = """
select distinct coalesce(v.oid::regclass::text, pg_describe_object(d.classid, d.objid, 0)), c.oid::regclass::text
from pg_class c
join pg_namespace n on n.oid = c.relnamespace and n.nspname = any(%(schemas)s)
join pg_depend d on d.refclassid = 'pg_class'::regclass and d.refobjid = c.oid and d.deptype = 'n'
left join pg_rewrite w on d.classid = 'pg_rewrite'::regclass and w.oid = d.objid
left join pg_constraint k on d.classid = 'pg_constraint'::regclass and k.oid = d.objid
left join pg_attrdef f on d.classid = 'pg_attrdef'::regclass and f.oid = d.objid
join pg_class v on v.oid = coalesce(w.ev_class, k.conrelid, f.adrelid) and v.oid <> c.oid
where c.relkind in ('r', 'p', 'v', 'm', 'S') and not c.oid = any(%(oids)s)
    and (v.oid = any(%(oids)s) or not exists (
        select from pg_namespace where oid = v.relnamespace and nspname = any(%(schemas)s)
    ))
order by 1, 2
limit 1
"""


def require_apart(
    cursor: Cursor, old: Collection[Relation], new: Collection[Relation], schemas: Collection[str]
) -> None:
    """Refuses views that were built on tables in use, or on what is left in the staging schemas."""
    built = {relation.oid for relation in new}
    for relation in old:
        for view in views_over(cursor, [relation.oid]):
            if view.oid in built:
                raise RebuildError(_BY_NAME.format(view=view.name, table=relation.text))
    cursor.execute(_LEFT_BEHIND, {"schemas": list(schemas), "oids": list(built)})
    if found := cursor.fetchone():
        raise RebuildError(_ON_PASSING.format(thing=found[0], table=found[1]))
