"""What users have attached to a relation and one statement makes again, once a successor has its name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.errors import unfit
from cht_sync.dbt.rebuild.relation import Relation, columns, tried

# Row filters and column lists of publications are of PostgreSQL 15 and later.
_PUBLICATIONS = """
select 8, 'publication', p.pubname::text, format('alter publication %%I add table %%s', p.pubname, r.name)
    || coalesce((select ' (' || string_agg(quote_ident(a.attname), ', ' order by a.attnum) || ')'
        from pg_attribute a where a.attrelid = r.oid and a.attnum = any(m.prattrs::int2[])), '')
    || coalesce(' where (' || pg_get_expr(m.prqual, m.prrelid) || ')', ''), null
from r join pg_publication_rel m on m.prrelid = r.oid join pg_publication p on p.oid = m.prpubid
"""
_PUBLICATIONS_14 = """
select 8, 'publication', p.pubname::text, format('alter publication %%I add table %%s', p.pubname, r.name), null
from r join pg_publication_rel m on m.prrelid = r.oid join pg_publication p on p.oid = m.prpubid
"""
# Place in the order, kind, name, statement, column without which there is nothing to keep.
_ATTACHED = """
with r as (
    select oid, oid::regclass::text as name, relkind, reloftype, relispartition, relpartbound, reltype,
        case relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end as word,
        relrowsecurity, relforcerowsecurity
    from pg_class where oid = %(oid)s
), of_columns as (
    select r.oid, r.name, a.attname, a.attnum, a.attidentity
    from r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
), sequences as (
    select s.oid, d.deptype, c.attname as column_name, c.name, c.attidentity, q.*
    from of_columns c
    join pg_depend d on d.classid = 'pg_class'::regclass and d.refclassid = 'pg_class'::regclass
        and d.refobjid = c.oid and d.refobjsubid = c.attnum and d.deptype in ('a', 'i')
    join pg_class s on s.oid = d.objid and s.relkind = 'S'
    join pg_sequence q on q.seqrelid = s.oid
)
select 1 as place, 'sequence' as kind, oid::regclass::text as name,
    format('alter sequence %%s owned by %%s.%%I', oid::regclass, name, column_name) as statement,
    column_name::text as of_column
from sequences where deptype = 'a'
union all
select 1, 'identity', column_name::text, format(
        'alter table %%s alter column %%I add generated %%s as identity (sequence name %%s start with %%s'
        ' increment by %%s minvalue %%s maxvalue %%s cache %%s %%s)',
        name, column_name, case attidentity when 'a' then 'always' else 'by default' end, oid::regclass,
        seqstart, seqincrement, seqmin, seqmax, seqcache,
        case when seqcycle then 'cycle' else 'no cycle' end
    ) || coalesce(
        format('; select setval(%%L, %%s)', oid::regclass, pg_sequence_last_value(oid::regclass)), ''
    ), column_name::text
from sequences where deptype = 'i'
union all
select 2, 'default', c.attname::text,
    format('alter table %%s alter column %%I set default %%s', c.name, c.attname, pg_get_expr(d.adbin, d.adrelid)),
    c.attname::text
from of_columns c
join pg_attrdef d on d.adrelid = c.oid and d.adnum = c.attnum
join pg_attribute a on a.attrelid = c.oid and a.attnum = c.attnum and a.attgenerated = ''
union all
select 3, 'type', reloftype::regtype::text, format('alter table %%s of %%s', name, reloftype::regtype), null
from r where reloftype <> 0
union all
select 3, 'inheritance', p.inhparent::regclass::text, case when r.relispartition
    then format('alter table %%s attach partition %%s %%s', p.inhparent::regclass, r.name,
        pg_get_expr(r.relpartbound, r.oid))
    else format('alter table %%s inherit %%s', r.name, p.inhparent::regclass) end, null
from r join pg_inherits p on p.inhrelid = r.oid
union all
select 4, 'trigger', tgname::text, pg_get_triggerdef(t.oid), null
from r join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal and t.tgparentid = 0
union all
select 5, 'state of the trigger', tgname::text, format('alter table %%s %%s trigger %%I', r.name,
    case tgenabled when 'D' then 'disable' when 'R' then 'enable replica' else 'enable always' end, tgname), null
from r join pg_trigger t on t.tgrelid = r.oid and not t.tgisinternal and t.tgenabled <> 'O'
union all
select 4, 'rule', rulename::text, pg_get_ruledef(w.oid), null
from r join pg_rewrite w on w.ev_class = r.oid and w.rulename <> '_RETURN'
union all
select 5, 'state of the rule', rulename::text, format('alter table %%s %%s rule %%I', r.name,
    case ev_enabled when 'D' then 'disable' when 'R' then 'enable replica' else 'enable always' end, rulename), null
from r join pg_rewrite w on w.ev_class = r.oid and w.rulename <> '_RETURN' and w.ev_enabled <> 'O'
union all
select 6, 'row security', v.verb, format('alter table %%s %%s row level security', r.name, v.verb), null
from r cross join lateral (values ('enable', relrowsecurity), ('force', relforcerowsecurity)) as v (verb, is_set)
where is_set
union all
select 6, 'policy', p.polname::text, format('create policy %%I on %%s as %%s for %%s to %%s', p.polname, r.name,
        case when p.polpermissive then 'permissive' else 'restrictive' end,
        case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
            else 'all' end,
        (select string_agg(case when role = 0 then 'public' else quote_ident(pg_get_userbyid(role)) end, ', ')
            from unnest(p.polroles) as role))
    || coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
    || coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', ''), null
from r join pg_policy p on p.polrelid = r.oid
union all
select 7, 'replica identity', '', format('alter table %%s replica identity %%s', r.name,
    case relreplident when 'f' then 'full' else 'nothing' end), null
from r join pg_class c on c.oid = r.oid and c.relreplident in ('f', 'n')
union all
select 9, 'comment of the ' || o.what, o.name,
    format('comment on %%s %%I on %%s is %%L', o.what, o.name, r.name, d.description), null
from r
cross join lateral (
    select 'trigger' as what, 'pg_trigger'::regclass as class, oid, tgname::text as name
    from pg_trigger where tgrelid = r.oid
    union all select 'rule', 'pg_rewrite'::regclass, oid, rulename::text from pg_rewrite where ev_class = r.oid
    union all select 'policy', 'pg_policy'::regclass, oid, polname::text from pg_policy where polrelid = r.oid
) as o (what, class, oid, name)
join pg_description d on d.classoid = o.class and d.objoid = o.oid
union all
select 9, 'comment of the row type', '', format('comment on type %%s is %%L', r.name, d.description), null
from r join pg_description d on d.classoid = 'pg_type'::regclass and d.objoid = r.reltype and d.objsubid = 0
union all
select 9, 'security label', concat_ws(' ', l.provider, a.attname),
    format('security label for %%I on %%s %%s%%s is %%L',
        l.provider, case when a.attname is null then r.word else 'column' end, r.name,
    '.' || quote_ident(a.attname), l.label), a.attname::text
from r
join pg_seclabel l on l.classoid = 'pg_class'::regclass and l.objoid = r.oid
left join pg_attribute a on a.attrelid = r.oid and a.attnum = l.objsubid and l.objsubid > 0
union all
select 9, 'extension of the trigger', t.tgname::text,
    format('alter trigger %%I on %%s depends on extension %%I', t.tgname, r.name, e.extname), null
from r
join pg_trigger t on t.tgrelid = r.oid
join pg_depend d on d.classid = 'pg_trigger'::regclass and d.objid = t.oid and d.deptype = 'x'
join pg_extension e on e.oid = d.refobjid
union all
select 9, 'extension', e.extname::text,
    format('alter %%s %%s depends on extension %%I', r.word, r.name, e.extname), null
from r
join pg_depend d on d.classid = 'pg_class'::regclass and d.objid = r.oid and d.deptype = 'x'
join pg_extension e on e.oid = d.refobjid
union all
"""
# Rules and policies may read views that depend on the relation, and would block their drop.
_IN_THE_WAY = """
select format('drop rule %%I on %%s', rulename, ev_class::regclass) from pg_rewrite
where ev_class = any(%(oids)s) and rulename <> '_RETURN'
union all
select format('drop policy %%I on %%s', polname, polrelid::regclass) from pg_policy where polrelid = any(%(oids)s)
"""
_UNCHECKED = """
select distinct c.conname::text from pg_trigger t join pg_constraint c on c.oid = t.tgconstraint
where t.tgrelid = %s and t.tgisinternal and t.tgenabled <> 'O' and t.tgparentid = 0
"""


@dataclass(frozen=True, slots=True)
class Attached:
    """One thing that is attached to a relation.

    :param place: when to make it again: those with a lower number first.
    :param kind: what it is, in words.
    :param statement: what makes it again on a relation of the same name.
    :param column: the column that it belongs to and goes with; None for none.
    """

    place: int
    kind: str
    name: str
    statement: str
    column: str | None


def attached(cursor: Cursor, oid: int) -> tuple[Attached, ...]:
    """What is attached to a relation; ``search_path`` has to be empty, so that names come with their schema."""
    publications = _PUBLICATIONS if cursor.connection.server_version >= 150000 else _PUBLICATIONS_14
    cursor.execute(_ATTACHED + publications + " order by 1, 2, 3", {"oid": oid})
    return tuple(Attached(*row) for row in cursor.fetchall())


def unchecked(cursor: Cursor, oid: int) -> list[str]:
    """Foreign keys of a relation whose checks somebody has turned off."""
    cursor.execute(_UNCHECKED, (oid,))
    return [row[0] for row in cursor.fetchall()]


def detach(cursor: Cursor, relations: Collection[Relation], things: Collection[Attached]) -> None:
    """Takes off relations that are to be dropped what blocks the drop, or what would go with them and is to stay."""
    cursor.execute(_IN_THE_WAY, {"oids": [relation.oid for relation in relations]})
    for (statement,) in cursor.fetchall():
        cursor.execute(statement)
    for thing in things:
        if thing.kind == "sequence":
            cursor.execute(f"alter sequence {thing.name} owned by none")


def attach(cursor: Cursor, relation: Relation, things: Sequence[Attached]) -> list[Attached]:
    """Attaches to a relation what another one of its name had and it lacks; SettingsError if one does not fit."""
    if not things:
        return []
    own = {(thing.kind, thing.name) for thing in attached(cursor, relation.oid)}
    there = {None, *columns(cursor, relation.oid)}
    made = []
    for thing in things:
        if (thing.kind, thing.name) in own or thing.column not in there:
            continue
        if said := tried(cursor, thing.statement):
            text = f"{thing.kind} {thing.name}".strip()
            raise unfit(f"The {text} of {relation.text}", said, "change or drop it")
        made.append(thing)
    return made
