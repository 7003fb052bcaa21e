"""Who may do what on a relation, and how its successor comes to the same."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.relation import Relation, columns, tried

# Privilege, column or None, role as SQL has it, whether it may be passed on, who gave it where that is not the owner.
Grant = tuple[str, str | None, str, bool, str | None]

_GRANTS = """
select e.privilege_type, a.of_column, coalesce(quote_ident(r.rolname), 'public'), e.is_grantable, quote_ident(g.rolname)
from pg_class c
cross join lateral (
    select null::text, c.relacl
    union all
    select attname::text, attacl from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
) as a (of_column, acl)
cross join lateral aclexplode(a.acl) e
left join pg_roles r on r.oid = e.grantee
left join pg_roles g on g.oid = e.grantor and g.oid <> c.relowner
where c.oid = %s and (e.grantee = 0 or r.oid is not null)
    -- One that became the owner may have a right of another's giving beside its own.
    and (a.of_column is not null or e.grantee <> c.relowner or e.grantor <> c.relowner)
order by 5 nulls first, 4 desc, 1, 2, 3
"""
# What an owner has taken from itself, lest it does something by mistake.
_NOT_OF_OWNER = """
select d.privilege_type
from pg_class c
cross join lateral aclexplode(acldefault('r', c.relowner)) d
where c.oid = %s and c.relacl is not null and not exists (
    select from aclexplode(c.relacl) e where e.grantee = c.relowner and e.privilege_type = d.privilege_type
)
"""
_DEFAULT_GRANTS = """
select e.privilege_type, null, coalesce(quote_ident(r.rolname), 'public'), e.is_grantable, null
from pg_default_acl d
cross join lateral aclexplode(d.defaclacl) e
left join pg_roles r on r.oid = e.grantee
where d.defaclobjtype = 'r' and d.defaclnamespace = to_regnamespace(quote_ident(%s))
  and d.defaclrole = (select oid from pg_roles where rolname = current_user)
  and e.grantee <> d.defaclrole and (e.grantee = 0 or r.oid is not null)
"""


def grants(cursor: Cursor, oid: int) -> tuple[Grant, ...]:
    """What others than the owner may do on a relation."""
    cursor.execute(_GRANTS, (oid,))
    return tuple(cursor.fetchall())


def not_of_owner(cursor: Cursor, oid: int) -> tuple[str, ...]:
    """What its owner has taken from itself."""
    cursor.execute(_NOT_OF_OWNER, (oid,))
    return tuple(row[0] for row in cursor.fetchall())


def default_grants(cursor: Cursor, schema: str) -> list[Grant]:
    """What the role grants on each table that it makes in a schema.

    Source: https://www.postgresql.org/docs/current/sql-alterdefaultprivileges.html
    """
    cursor.execute(_DEFAULT_GRANTS, (schema,))
    return list(cursor.fetchall())


def give(cursor: Cursor, relation: Relation, wanted: Sequence[Grant]) -> None:
    """Grants on a relation what is for columns that it has; those of the owner come before those of grantees."""
    there = columns(cursor, relation.oid)
    for privilege, column, role, passed_on, by in wanted:
        if column is not None and column not in there:
            continue
        grant = sql.SQL("grant {} on table {} to {}").format(
            _what(privilege, column), relation.identifier, sql.SQL(role)
        )
        grant += sql.SQL(" with grant option" if passed_on else "")
        if by:
            # As the role that gave it: it goes when that one loses its own right.
            as_that_role = [sql.SQL("set local role {}").format(sql.SQL(by)), grant, sql.SQL("reset role")]
            if not tried(cursor, *as_that_role):
                continue
        cursor.execute(grant)


def give_like(cursor: Cursor, relation: Relation, saved: Sequence[Grant], own: Collection[str]) -> None:
    """Gives a relation the grants that another one had, and no others.

    What a role makes may come with grants of its own, by default privileges: here they would undo that somebody has
    taken them away.

    :param own: privileges that the project grants by itself: these are as the relation has them.
    """
    wanted = [grant for grant in saved if grant[0] not in own]
    for grant in grants(cursor, relation.oid):
        privilege, column, role, _, _ = grant
        if privilege not in own and not any(grant[:4] == one[:4] for one in wanted):
            revoke = sql.SQL("revoke {} on table {} from {} cascade")
            cursor.execute(revoke.format(_what(privilege, column), relation.identifier, sql.SQL(role)))
    give(cursor, relation, wanted)


def _what(privilege: str, column: str | None) -> sql.Composed:
    return sql.SQL(privilege) + (sql.SQL(" ({})").format(sql.Identifier(column)) if column else sql.SQL(""))
