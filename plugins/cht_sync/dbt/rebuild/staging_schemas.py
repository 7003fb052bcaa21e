"""The schemas where models are built before they are swapped in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg2
from airflow.sdk import Connection
from psycopg2 import sql

from cht_sync.errors import SettingsError
from cht_sync.postgres.transaction import transaction

_EXISTS = "select to_regnamespace(quote_ident(%s)) is not null"
_MAY_CREATE = "select has_schema_privilege(%s, 'create, usage')"
# What belongs to a table goes with it.
_LEFT = """
select c.relname, case c.relkind when 'v' then 'view' when 'm' then 'materialized view'
    when 'S' then 'sequence' else 'table' end
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relkind in ('r', 'p', 'v', 'm', 'S')
  and not exists (
      select from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid and c.relkind = 'S' and d.deptype in ('a', 'i')
  )
order by c.relkind in ('v', 'm') desc
"""
_TOLD_APART = """
select c.relname::text
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and c.relkind = 'r' and exists (
    select from pg_class live join pg_namespace l on l.oid = live.relnamespace
    where l.nspname = %s and live.relname = c.relname and live.relreplident in ('f', 'i')
)
"""
_FOREIGN_OWNED = """
select format('%%I.%%I', n.nspname, c.relname), pg_get_userbyid(c.relowner)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where (n.nspname, c.relname) in %s and not pg_has_role(c.relowner, 'usage')
"""


def prepare(connection: Connection, schemas: Iterable[str]) -> None:
    """Makes the schemas, or empties those that an earlier rebuild has left behind.

    :param connection: of the role that owns the models.
    :param schemas: their names.
    :raises SettingsError: if the role may neither make nor use one.
    :raises StoreError: if Postgres fails.
    """
    with _cursor(connection, "make a schema to build models in") as cursor:
        for schema in schemas:
            _make(connection, cursor, schema)
            _empty(cursor, schema)


def clear(connection: Connection, schemas: Iterable[str]) -> None:
    """Empties the schemas.

    :param connection: of the role that owns the models.
    :param schemas: their names.
    :raises StoreError: if Postgres fails.
    """
    with _cursor(connection, "empty the schema where models were built") as cursor:
        for schema in schemas:
            _empty(cursor, schema)


def tell_rows_apart(connection: Connection, schemas: Mapping[str, str]) -> None:
    """Lets rows of what was built aside be changed where everything is published, as those in use may be.

    Source: https://www.postgresql.org/docs/current/logical-replication-publication.html

    :param connection: of the role that owns the models.
    :param schemas: the schema aside for each schema of a model.
    :raises StoreError: if Postgres fails.
    """
    with _cursor(connection, "set the replica identity of the models") as cursor:
        for schema, aside in schemas.items():
            cursor.execute(_TOLD_APART, (aside, schema))
            for (name,) in cursor.fetchall():
                alter = sql.SQL("alter table {} replica identity full")
                cursor.execute(alter.format(sql.Identifier(aside, name)))


def require_owned(connection: Connection, relations: Iterable[tuple[str, str]]) -> None:
    """Refuses relations that the role may not drop.

    :param connection: of the role that owns the models.
    :param relations: schema and name of each.
    :raises SettingsError: naming the first of another role.
    :raises StoreError: if Postgres fails.
    """
    with _cursor(connection, "look at the owners of the models") as cursor:
        cursor.execute(_FOREIGN_OWNED, (tuple(relations),))
        found = cursor.fetchone()
    if found:
        relation, owner = found
        raise SettingsError(
            f"{relation} belongs to role {owner!r}, and {connection.login!r} has to rebuild it: run"
            " include/roles/roles.sql, or give it over by `alter table ... owner to`."
        )


def _make(connection: Connection, cursor: Any, schema: str) -> None:
    cursor.execute(_EXISTS, (schema,))
    if not cursor.fetchone()[0]:
        try:
            cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
        except psycopg2.errors.InsufficientPrivilege:
            raise _refusal(connection, schema) from None
    cursor.execute(_MAY_CREATE, (schema,))
    if not cursor.fetchone()[0]:
        raise _refusal(connection, schema)


def _refusal(connection: Connection, schema: str) -> SettingsError:
    return SettingsError(
        f"Role {connection.login!r} may not make or use the schema {schema!r}, where models are built before they"
        " replace those in use: run include/roles/roles.sql again, or `create schema` and `grant usage, create` on it."
    )


def _empty(cursor: Any, schema: str) -> None:
    cursor.execute(_LEFT, (schema,))
    for name, kind in cursor.fetchall():
        drop = sql.SQL("drop {} if exists {} cascade").format(sql.SQL(kind), sql.Identifier(schema, name))
        cursor.execute(drop)


@contextmanager
def _cursor(connection: Connection, doing: str) -> Iterator[Any]:
    with transaction(connection, "cht_sync rebuild", doing) as cursor:
        yield cursor
