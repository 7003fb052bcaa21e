"""What people and grants have put on a relation, and what a new relation of that name needs to have again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view"}

_GRANTS = """
select e.privilege_type, null, coalesce(quote_ident(r.rolname), 'public'), e.is_grantable
from pg_class c
cross join lateral aclexplode(c.relacl) e
left join pg_roles r on r.oid = e.grantee
where c.oid = %(oid)s and e.grantee <> c.relowner and (e.grantee = 0 or r.oid is not null)
union all
select e.privilege_type, a.attname::text, coalesce(quote_ident(r.rolname), 'public'), e.is_grantable
from pg_attribute a
cross join lateral aclexplode(a.attacl) e
left join pg_roles r on r.oid = e.grantee
where a.attrelid = %(oid)s and a.attnum > 0 and not a.attisdropped and (e.grantee = 0 or r.oid is not null)
"""
_DEFAULT_GRANTS = """
select e.privilege_type, null, coalesce(quote_ident(r.rolname), 'public'), e.is_grantable
from pg_default_acl d
cross join lateral aclexplode(d.defaclacl) e
left join pg_roles r on r.oid = e.grantee
where d.defaclobjtype = 'r' and d.defaclnamespace = to_regnamespace(quote_ident(%s))
  and d.defaclrole = (select oid from pg_roles where rolname = current_user)
  and e.grantee <> d.defaclrole and (e.grantee = 0 or r.oid is not null)
"""
_COMMENTS = """
select a.attname::text, d.description
from pg_description d
left join pg_attribute a on a.attrelid = d.objoid and a.attnum = d.objsubid and d.objsubid > 0
where d.classoid = 'pg_class'::regclass and d.objoid = %s
"""
_COLUMNS = "select attname::text from pg_attribute where attrelid = %s and attnum > 0 and not attisdropped"
_OPTIONS = "select unnest(reloptions) from pg_class where oid = %s"
_TRIGGERS = "select pg_get_triggerdef(oid) from pg_trigger where tgrelid = %s and not tgisinternal"
_ROW_SECURITY = """
select format('alter table %%s %%s row level security', oid::regclass, word)
from pg_class cross join lateral (values ('enable', relrowsecurity), ('force', relforcerowsecurity)) as v (word, is_set)
where oid = %(oid)s and is_set
union all
select format('create policy %%I on %%s as %%s for %%s to %%s', p.polname, p.polrelid::regclass,
        case when p.polpermissive then 'permissive' else 'restrictive' end,
        case p.polcmd when 'r' then 'select' when 'a' then 'insert' when 'w' then 'update' when 'd' then 'delete'
            else 'all' end,
        (select string_agg(case when role = 0 then 'public' else quote_ident(pg_get_userbyid(role)) end, ', ')
            from unnest(p.polroles) as role))
    || coalesce(' using (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
    || coalesce(' with check (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '')
from pg_policy p where p.polrelid = %(oid)s
"""
# dbt names the indexes of a model's config by a hash.
# Source: ``index_create_sql`` and ``PostgresIndexConfig.render`` in dbt-postgres.
_INDEXES = """
select i.indisunique, pg_get_indexdef(i.indexrelid), c.relname::text, c.relname ~ '^[0-9a-f]{32}$'
from pg_index i join pg_class c on c.oid = i.indexrelid
where i.indrelid = %s
  and not exists (select from pg_constraint k where k.conindid = c.oid and k.contype in ('p', 'u', 'x'))
"""

Grant = tuple[str, str | None, str, bool]
Statement = Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Relation:
    """A table, view or materialized view.

    :param oid: of ``pg_class``.
    :param schema: its schema.
    :param name: its name.
    :param kind: ``relkind``.
    """

    oid: int
    schema: str
    name: str
    kind: str

    @property
    def text(self) -> str:
        """Its name for a person."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        """Its name for a statement."""
        return sql.Identifier(self.schema, self.name)

    @property
    def word(self) -> sql.SQL:
        """Its kind for a statement."""
        return sql.SQL(KINDS[self.kind])


@dataclass(frozen=True, slots=True)
class Saved:
    """What is on a relation apart from its rows.

    :param grants: privilege, column or None, role as SQL has it, and whether it may be passed on.
    :param comments: by column; that of the relation by None.
    :param options: ``reloptions``.
    :param statements: what makes triggers and row security again.
    """

    grants: tuple[Grant, ...]
    comments: dict[str | None, str]
    options: tuple[str, ...]
    statements: tuple[str, ...]


def save(cursor: Any, oid: int) -> Saved:
    """Reads what is on a relation; ``search_path`` has to be empty, so that each name is told in full.

    :param cursor: of the role that owns it.
    :param oid: of the relation.
    """
    cursor.execute(_GRANTS, {"oid": oid})
    grants = tuple(cursor.fetchall())
    cursor.execute(_COMMENTS, (oid,))
    comments = dict(cursor.fetchall())
    cursor.execute(_OPTIONS, (oid,))
    options = tuple(row[0] for row in cursor.fetchall())
    cursor.execute(_TRIGGERS, (oid,))
    statements = [row[0] for row in cursor.fetchall()]
    cursor.execute(_ROW_SECURITY, {"oid": oid})
    statements += [row[0] for row in cursor.fetchall()]
    return Saved(grants, comments, options, tuple(statements))


def default_grants(cursor: Any, schema: str) -> list[Grant]:
    """What the role grants on each table that it makes in a schema.

    Source: https://www.postgresql.org/docs/current/sql-alterdefaultprivileges.html

    :param cursor: of that role.
    :param schema: the schema.
    """
    cursor.execute(_DEFAULT_GRANTS, (schema,))
    return list(cursor.fetchall())


def columns(cursor: Any, oid: int) -> set[str]:
    """The columns of a relation.

    :param cursor: of any role.
    :param oid: of the relation.
    """
    cursor.execute(_COLUMNS, (oid,))
    return {row[0] for row in cursor.fetchall()}


def give(cursor: Any, relation: Relation, grants: list[Grant]) -> None:
    """Grants on a relation what is for columns that it has.

    :param cursor: of the role that owns it.
    :param relation: the relation.
    :param grants: what.
    """
    there = columns(cursor, relation.oid)
    for privilege, column, role, passed_on in grants:
        if column is not None and column not in there:
            continue
        what = sql.SQL(privilege) + (sql.SQL(" ({})").format(sql.Identifier(column)) if column else sql.SQL(""))
        grant = sql.SQL("grant {} on table {} to {}").format(what, relation.identifier, sql.SQL(role))
        cursor.execute(grant + sql.SQL(" with grant option") if passed_on else grant)


def comment(cursor: Any, relation: Relation, comments: dict[str | None, str]) -> None:
    """Gives a relation the comments for which it has none of its own.

    :param cursor: of the role that owns it.
    :param relation: the relation.
    :param comments: by column; that of the relation by None.
    """
    cursor.execute(_COMMENTS, (relation.oid,))
    own = dict(cursor.fetchall())
    there = columns(cursor, relation.oid)
    for column, text in comments.items():
        if column in own or (column is not None and column not in there):
            continue
        if column is None:
            what, name = relation.word, relation.identifier
        else:
            what, name = sql.SQL("column"), sql.Identifier(relation.schema, relation.name, column)
        cursor.execute(sql.SQL("comment on {} {} is {}").format(what, name, sql.Literal(text)))


def missing_indexes(cursor: Any, old: int, new: int) -> list[tuple[str, str]]:
    """Indexes that people made on a relation and that its successor has not, by name and with their definition.

    :param cursor: of any role.
    :param old: oid of the relation.
    :param new: oid of its successor.
    """
    cursor.execute(_INDEXES, (new,))
    there = {(unique, _after_table(text)) for unique, text, _, _ in cursor.fetchall()}
    cursor.execute(_INDEXES, (old,))
    rows = cursor.fetchall()
    return [
        (name, _after_table(text) if not unique else f"unique {_after_table(text)}")
        for unique, text, name, of_dbt in rows
        if not of_dbt and (unique, _after_table(text)) not in there
    ]


def _after_table(definition: str) -> str:
    """``btree (a) WHERE b`` of ``CREATE INDEX name ON schema.table USING btree (a) WHERE b``."""
    return definition.partition(" USING ")[2]
