"""Refuses a rebuild that would lose user-defined objects: those on models in use, and those upon what is built."""

from __future__ import annotations

from collections.abc import Collection

from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.dependent_views import require_makeable, views_over
from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.foreign_keys import keys_of, require_owned_key
from cht_sync.dbt.rebuild.relation import Relation
from cht_sync.errors import SettingsError

# The views of the schema api are taken away before the swap, by a function of their owner.
API = "api"
_BLOCKING = """
with gone as (
    select c.oid, c.reltype, t.typarray from pg_class c left join pg_type t on t.oid = c.reltype
    where c.oid = any(%(oids)s)
)
select pg_describe_object(d.classid, d.objid, d.objsubid) || ' depends on '
    || pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid)
from pg_depend d
where d.deptype = 'n'
  and (
      d.refclassid = 'pg_class'::regclass and d.refobjid in (select oid from gone)
      or d.refclassid = 'pg_type'::regclass
      and d.refobjid in (select reltype from gone union all select typarray from gone where typarray <> 0)
  )
  and not case d.classid
      when 'pg_class'::regclass then d.objid in (select oid from gone)
          or exists (select from pg_index where indexrelid = d.objid and indrelid in (select oid from gone))
      when 'pg_type'::regclass then d.objid in (select reltype from gone)
      when 'pg_rewrite'::regclass then exists (
          select from pg_rewrite w join pg_class v on v.oid = w.ev_class
          where w.oid = d.objid
              and (w.ev_class in (select oid from gone)
                  or w.rulename = '_RETURN' and v.relnamespace = to_regnamespace(%(api)s))
      )
      when 'pg_constraint'::regclass then exists (
          select from pg_constraint where oid = d.objid and (contype = 'f' or conrelid in (select oid from gone))
      )
      when 'pg_policy'::regclass then exists (
          select from pg_policy where oid = d.objid and polrelid in (select oid from gone)
      )
      when 'pg_trigger'::regclass then exists (
          select from pg_trigger where oid = d.objid and tgrelid in (select oid from gone)
      )
      when 'pg_attrdef'::regclass then exists (
          select from pg_attrdef where oid = d.objid and adrelid in (select oid from gone)
      )
      when 'pg_statistic_ext'::regclass then exists (
          select from pg_statistic_ext where oid = d.objid and stxrelid in (select oid from gone)
      )
      when 'pg_publication_rel'::regclass then exists (
          select from pg_publication_rel where oid = d.objid and prrelid in (select oid from gone)
      )
      else false
  end
order by 1
limit 1
"""
_OF_OTHERS = """
select 'publication', p.pubname::text, r.prrelid, pg_get_userbyid(p.pubowner)::text,
    format('alter publication %%I owner to', p.pubname)
from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
where r.prrelid = any(%(oids)s) and not pg_has_role(p.pubowner, 'usage')
union all
select 'table', i.inhparent::regclass::text, i.inhrelid, pg_get_userbyid(c.relowner)::text,
    format('alter table %%s owner to', i.inhparent::regclass)
from pg_inherits i join pg_class c on c.oid = i.inhparent
where i.inhrelid = any(%(oids)s) and not pg_has_role(c.relowner, 'usage')
order by 1, 2
limit 1
"""
_SUBSCRIBED = "select srrelid from pg_subscription_rel where srrelid = any(%s) limit 1"
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


def require_keepable(cursor: Cursor, relations: Collection[Relation], role: str | None) -> None:
    """Refuses relations on which something is that their successors could not have.

    :param cursor: of the role that owns the models; ``search_path`` has to be empty.
    :raises SettingsError: if something belongs to a role that this one is no member of.
    :raises RebuildError: if something would have to be dropped.
    """
    names = {relation.oid: relation.text for relation in relations}
    if partitioned := next((relation.text for relation in relations if relation.kind == "p"), None):
        raise RebuildError(
            f"{partitioned} is partitioned, and what dbt builds is not; nothing was changed: put a table"
            " without partitions in its place, or leave the model out by `full_refresh: false`."
        )
    views = views_over(cursor, names, API)
    for view in [each for each in views if each.oid not in names]:
        require_makeable(cursor, view, role)
    for key in [each for each in keys_of(cursor, names) if each.child not in names]:
        require_owned_key(key)
    cursor.execute(_OF_OTHERS, {"oids": list(names)})
    if row := cursor.fetchone():
        kind, name, oid, owner, statement = row
        raise SettingsError(
            f"{names[oid]} belongs to the {kind} {name} of role {owner!r}, and role {role!r} may not put the rebuilt"
            f" table there; nothing was changed: `{statement} {role}`, or take {names[oid]} out of it."
        )
    cursor.execute(_SUBSCRIBED, (list(names),))
    if row := cursor.fetchone():
        raise RebuildError(
            f"A subscription writes into {names[row[0]]}, and would not into the rebuilt table; nothing was changed:"
            " take the table out of its publication, and the next deployment goes on."
        )
    cursor.execute(_BLOCKING, {"oids": [*names, *(view.oid for view in views)], "api": API})
    if row := cursor.fetchone():
        raise RebuildError(blocked(row[0]))


def require_apart(
    cursor: Cursor, old: Collection[Relation], new: Collection[Relation], schemas: Collection[str]
) -> None:
    """Refuses views that were built on tables in use, or on what is left in the staging schemas."""
    built = {relation.oid for relation in new}
    for relation in old:
        for view in views_over(cursor, [relation.oid]):
            if view.oid in built:
                raise RebuildError(
                    f"The view {view.name} reads {relation.text} by its name, so that the order of the two is unknown,"
                    " nothing was changed: write ref() in its place, also in the views between them."
                )
    cursor.execute(_LEFT_BEHIND, {"schemas": list(schemas), "oids": list(built)})
    if found := cursor.fetchone():
        raise RebuildError(
            f"{found[0]} depends on {found[1]}, which a hook or macro has made in the schema where models are built"
            " before they replace those in use, and which is dropped with it, nothing was changed: make it a model and"
            " read it by ref(), or name its schema."
        )


def blocked(detail: str) -> str:
    """The sentence about an object that depends on a model and keeps it from being dropped."""
    return (
        f"A user-defined object depends on a model that is rebuilt, nothing was changed: {' '.join(detail.split())};"
        " drop it, and the next deployment goes on."
    )
