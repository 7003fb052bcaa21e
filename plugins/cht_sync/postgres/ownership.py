"""Tables that another role could run code through are refused: it would run with the rights of whoever writes them."""

from __future__ import annotations

from collections.abc import Iterable

from psycopg2.extensions import cursor as Cursor

from cht_sync.errors import SettingsError
from cht_sync.postgres.query import one_row

# Whose objects count as ours: what this role may do anyway, and those who may do anything in this database or schema.
_STRANGE = """
with trusted as materialized (
    select r.oid from pg_roles r
    where pg_has_role(current_user, r.oid, 'usage') or r.rolsuper
        or r.oid in (select datdba from pg_database where datname = current_database())
        or r.oid in (select nspowner from pg_namespace where nspname = %(schema)s)
), ours as materialized (
    select c.oid, c.relowner, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = %(schema)s and c.relname = any(%(tables)s)
), part (classid, objid, relation) as (
    select 'pg_class'::regclass, oid, relname from ours
    union all select 'pg_trigger'::regclass, t.oid, relname from pg_trigger t join ours on ours.oid = tgrelid
    union all select 'pg_attrdef'::regclass, d.oid, relname from pg_attrdef d join ours on ours.oid = adrelid
    union all select 'pg_constraint'::regclass, k.oid, relname from pg_constraint k join ours on ours.oid = conrelid
    union all select 'pg_class'::regclass, indexrelid, relname from pg_index join ours on ours.oid = indrelid
    union all select 'pg_rewrite'::regclass, w.oid, relname from pg_rewrite w join ours on ours.oid = ev_class
    union all select 'pg_policy'::regclass, p.oid, relname from pg_policy p join ours on ours.oid = polrelid
), used (relation, kind, name, owner) as (
    select part.relation, 'function', f.oid::regprocedure::text, f.proowner
    from part join pg_depend d using (classid, objid)
    join pg_proc f on d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
    union all
    select part.relation, 'operator', o.oid::regoperator::text, o.oprowner
    from part join pg_depend d using (classid, objid)
    join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    union all
    select part.relation, 'type', t.oid::regtype::text, t.typowner
    from part join pg_depend d using (classid, objid)
    join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
)
select relname, '', '', pg_get_userbyid(relowner) from ours where relowner not in (select oid from trusted)
union
select relation, kind, name, pg_get_userbyid(owner) from used where owner not in (select oid from trusted)
order by 1, 2, 3
"""

# Disabled ones count too.
# Source: ``RewriteQuery`` in ``src/backend/rewrite/rewriteHandler.c``
_RULES = """
select c.relname, r.rulename from pg_rewrite r
join pg_class c on c.oid = r.ev_class
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %(schema)s and c.relname = any(%(tables)s) and c.relkind in ('r', 'p')
    and (r.ev_type in ('2', '3') or r.ev_type = '4' and r.is_instead)
order by 1, 2
"""


def require_ours(cursor: Cursor, schema: str, tables: Iterable[str]) -> None:
    """Refuses tables that belong to another role, and those with triggers, rules, defaults, constraints, indexes or
    policies that use another role's function, operator or type.

    What a table runs is run with the rights of the role that writes it. Objects of a role whose rights this one has, of
    superusers and of the owners of database and schema are no others'.

    :param tables: their names; those that are not there are not looked at.
    """
    cursor.execute(_STRANGE, {"schema": schema, "tables": list(tables)})
    found = cursor.fetchall()
    if not found:
        return
    cursor.execute("select current_user")
    (me,) = one_row(cursor)
    strange = [
        f"{schema}.{table} {f'uses {kind} {name} of' if kind else 'belongs to'} role {owner!r}"
        for table, kind, name, owner in found
    ]
    raise SettingsError(
        f"What a table runs would run with the rights of role {me!r}, and not all is of roles that it can trust:"
        f" {'; '.join(strange)}. Drop what is not wanted there; else let a superuser, who has looked at the tables,"
        f" their triggers and functions, run `alter table` or `alter function … owner to` that role."
    )


def require_no_rules(cursor: Cursor, schema: str, tables: Iterable[str]) -> None:
    """Refuses tables with rules for what is written, which PostgreSQL takes no ``on conflict`` for."""
    cursor.execute(_RULES, {"schema": schema, "tables": list(tables)})
    if found := cursor.fetchone():
        table, rule = found
        raise SettingsError(
            f"{schema}.{table} has the rule {rule}: PostgreSQL takes no INSERT … ON CONFLICT for a table with rules for"
            " INSERT or UPDATE, COPY passes them by, and one INSTEAD of DELETE leaves what has to go, so nothing is"
            f" stored. Say `drop rule {rule} on {schema}.{table}`, and use a trigger in its place."
        )
