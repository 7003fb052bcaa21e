"""The schemas where models are built before they are swapped in."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import psycopg2
from airflow.sdk import Connection
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.errors import SettingsError
from cht_sync.postgres.lookups import value_of
from cht_sync.postgres.transaction import transaction

log = logging.getLogger(__name__)

SESSION = "cht_sync rebuild"
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
_NEEDS_IDENTITY = """
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
    """Makes the schemas, or empties those that an earlier rebuild has left; SettingsError if the role may not."""
    with transaction(connection, SESSION, "make a schema to build models in") as cursor:
        for schema in schemas:
            try:
                if not value_of(cursor, _EXISTS, (schema,)):
                    cursor.execute(sql.SQL("create schema {}").format(sql.Identifier(schema)))
                may = value_of(cursor, _MAY_CREATE, (schema,))
            except psycopg2.errors.InsufficientPrivilege:
                may = False
            if not may:
                raise SettingsError(
                    f"Role {connection.login!r} may not make or use the schema {schema!r}, where models are built"
                    " before they replace those in use: run include/roles/roles.sql again, or `create schema` and"
                    " `grant usage, create` on it."
                )
            _empty(cursor, schema)


def clear(connection: Connection, schemas: Iterable[str]) -> None:
    """Empties the schemas, as far as that can be done."""
    try:
        with transaction(connection, SESSION, "empty the schema where models were built") as cursor:
            for schema in schemas:
                _empty(cursor, schema)
    except Exception as error:
        # The next rebuild empties them first; what went before says more than this.
        log.warning("The staging schemas could not be dropped: %s", error)


def identify_rows(connection: Connection, schemas: Mapping[str, str]) -> None:
    """Gives tables the replica identity without which rows cannot be changed where all tables are published.

    Source: https://www.postgresql.org/docs/current/logical-replication-publication.html

    :param schemas: the staging schema for each schema of a model.
    """
    with transaction(connection, SESSION, "set the replica identity of the models") as cursor:
        for schema, staging in schemas.items():
            cursor.execute(_NEEDS_IDENTITY, (staging, schema))
            for (name,) in cursor.fetchall():
                table = sql.Identifier(staging, name)
                cursor.execute(sql.SQL("alter table {} replica identity full").format(table))


def require_owned(connection: Connection, relations: Iterable[tuple[str, str]]) -> None:
    """Refuses relations that the role may not drop, naming the first."""
    with transaction(connection, SESSION, "look at the owners of the models") as cursor:
        cursor.execute(_FOREIGN_OWNED, (tuple(relations),))
        found = cursor.fetchone()
    if found:
        relation, owner = found
        raise SettingsError(
            f"{relation} belongs to role {owner!r}, and {connection.login!r} has to rebuild it: run"
            " include/roles/roles.sql, or give it over by `alter table ... owner to`."
        )


def _empty(cursor: Cursor, schema: str) -> None:
    cursor.execute(_LEFT, (schema,))
    for name, kind in cursor.fetchall():
        drop = sql.SQL("drop {} if exists {} cascade")
        cursor.execute(drop.format(sql.SQL(kind), sql.Identifier(schema, name)))
