"""Refuses a rebuild that would lose user-defined objects on a model, before anything is built."""

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


def require_keepable(cursor: Cursor, relations: Collection[Relation], role: str | None) -> None:
    """Refuses relations on which something is that their successors could not have.

    :param cursor: of the role that owns the models; ``search_path`` has to be empty.
    :raises SettingsError: if something belongs to a role that this one is no member of.
    :raises RebuildError: if something would have to be dropped.
    """
    names = {relation.oid: relation.text for relation in relations}
    for relation in relations:
        if relation.kind == "p":
            raise RebuildError(
                f"{relation.text} is partitioned, and what dbt builds anew is not; nothing was changed: put a table"
                " without partitions in its place, or leave the model out by `full_refresh: false`."
            )
    views = views_over(cursor, names, API)
    for view in views:
        if view.oid not in names:
            require_makeable(cursor, view, role)
    for key in keys_of(cursor, names):
        if key.child not in names:
            require_owned_key(key)
    cursor.execute(_OF_OTHERS, {"oids": list(names)})
    if row := cursor.fetchone():
        kind, name, oid, owner, statement = row
        raise SettingsError(
            f"{names[oid]} belongs to the {kind} {name} of role {owner!r}, and role {role!r} may not put what is built"
            f" anew there; nothing was changed: `{statement} {role}`, or take {names[oid]} out of it."
        )
    cursor.execute(_SUBSCRIBED, (list(names),))
    if row := cursor.fetchone():
        raise RebuildError(
            f"A subscription writes into {names[row[0]]}, and would not into what is built anew; nothing was changed:"
            " take the table out of its publication, and the next deployment goes on."
        )
    cursor.execute(_BLOCKING, {"oids": [*names, *(view.oid for view in views)], "api": API})
    if row := cursor.fetchone():
        raise RebuildError(blocked(row[0]))


def blocked(detail: str) -> str:
    """The sentence about an object that depends on a model and keeps it from being dropped."""
    return (
        f"Something of people's hangs on a model that is built anew, nothing was changed: {' '.join(detail.split())};"
        " drop it, and the next deployment goes on."
    )
