"""The table ``couchdb_built_model``: the columns that dbt gave the tables which it adds to from run to run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from psycopg2.extensions import cursor as Cursor
from psycopg2.extras import Json

from cht_sync.postgres.connection import regclass_text
from cht_sync.postgres.lookups import column_exists, value_of
from cht_sync.postgres.query import Names

TABLE = "couchdb_built_model"
Place = tuple[str, str]
Columns = dict[str, str]
# Before the migration, and for a role that is not granted it yet, nothing is known.
_READY = "select coalesce(bool_and(has_table_privilege(to_regclass(%s), one)), false) from unnest(%s) as one"
_READ = "select models_schema, relation, columns from {schema}.couchdb_built_model"
_RECORD = """
insert into {schema}.couchdb_built_model (models_schema, relation, columns) values (%s, %s, %s)
on conflict (models_schema, relation) do update set columns = excluded.columns, built_at = now()
"""
# The newest column, which a database may not have yet.
_BATCHES = """
select models_schema, relation, to_jsonb(built) -> 'batches' from {schema}.couchdb_built_model built
where jsonb_typeof(to_jsonb(built) -> 'batches') = 'object'
"""
_RECORD_BATCHES = "update {schema}.couchdb_built_model set batches = %s where models_schema = %s and relation = %s"
_FORGET = "delete from {schema}.couchdb_built_model where models_schema = %s and relation = %s"


class BuiltModels:
    """The table, in the schema of the documents, in a transaction of the caller's with either role."""

    def __init__(self, cursor: Cursor, schema: str) -> None:
        self._cursor, self._names = cursor, Names(schema)

    def read(self) -> dict[Place, Columns]:
        """The columns of each table, by its schema and name."""
        if not self._may("select"):
            return {}
        self._names.execute(self._cursor, _READ)
        return {(schema, name): columns for schema, name, columns in self._cursor.fetchall()}

    def record(self, built: Mapping[Place, Columns], others: Collection[Place] = ()) -> None:
        """Notes the tables that dbt will add to, and forgets others, which dbt makes again in each run."""
        if not (built or others) or not self._may("insert", "update", "delete"):
            return
        for place, columns in built.items():
            self._names.execute(self._cursor, _RECORD, (*place, Json(columns)))
        for place in others:
            self._names.execute(self._cursor, _FORGET, place)

    def batches(self) -> dict[Place, dict[str, Any]]:
        """Which batches of each table are built that dbt builds in batches, by its schema and name."""
        if not self._may("select"):
            return {}
        self._names.execute(self._cursor, _BATCHES)
        return {(schema, name): noted for schema, name, noted in self._cursor.fetchall()}

    def record_batches(self, built: Mapping[Place, Any]) -> None:
        """Notes which batches are built of tables that were recorded."""
        if not column_exists(self._cursor, self._names.schema, TABLE, "batches") or not self._may("update"):
            return
        for place, noted in built.items():
            self._names.execute(self._cursor, _RECORD_BATCHES, (Json(noted), *place))

    def _may(self, *rights: str) -> bool:
        return bool(value_of(self._cursor, _READY, (regclass_text(self._names.schema, TABLE), list(rights))))
