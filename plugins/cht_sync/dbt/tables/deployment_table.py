"""The table ``couchdb_deployment``: which version of the dbt project each group of models of a schema comes from."""

from __future__ import annotations

import json
from typing import Any

from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.query import Names

_RECORDED = """
select models, version, held from {schema}.couchdb_deployment where models_schema = %s
order by deployed_at desc, models
"""
_RECORD = """
insert into {schema}.couchdb_deployment (models_schema, models, version, source, revision, held, time_zone)
values (%s, %s, %s, %s, %s, %s, %s)
on conflict (models_schema, models) do update
set version = excluded.version, source = excluded.source, revision = excluded.revision,
    held = excluded.held, deployed_at = now()
"""
# The column is missing where the role has not brought the tables up to date yet.
_ZONES = "select to_jsonb(d) ->> 'time_zone' from {schema}.couchdb_deployment d where models_schema = %s"
_NOTE_ZONE = "update {schema}.couchdb_deployment set time_zone = %s where models_schema = %s and time_zone is null"
_REMOVED = """
select r.key, min(r.value)
from {schema}.couchdb_deployment d cross join lateral jsonb_each_text(d.removed) r
where d.models_schema = %s group by 1 order by 1
"""
_NOTE_REMOVED = "update {schema}.couchdb_deployment set removed = nullif(%s::jsonb, '{{}}') where models_schema = %s"


class DeploymentTable:
    """Reads and writes it in the schema of the documents, each time inside a transaction of the caller's."""

    def __init__(self, schema: str, models_schema: str) -> None:
        self._names, self._models_schema = Names(schema), models_schema

    def _execute(self, cursor: Cursor, text: str, *values: Any) -> None:
        self._names.execute(cursor, text, values)

    def recorded(self, cursor: Cursor) -> list[tuple[str, str, str | None]]:
        """Group of models, version, and what was rolled back from; the newest deployment first."""
        self._execute(cursor, _RECORDED, self._models_schema)
        return cursor.fetchall()

    def record(
        self, cursor: Cursor, models: str, version: tuple[str, str, str], *, held: str | None, zone: str | None
    ) -> None:
        """Notes the version of a group, which keeps its time zone where it has one.

        :param version: of the dbt project, where that comes from, and the revision of that.
        """
        self._execute(cursor, _RECORD, self._models_schema, models, *version, held, zone)

    def zones(self, cursor: Cursor) -> list[str | None]:
        """The time zone of each group; None where none was noted."""
        self._execute(cursor, _ZONES, self._models_schema)
        return [zone for (zone,) in cursor.fetchall()]

    def note_zone(self, cursor: Cursor, zone: str) -> None:
        """Notes a time zone for the groups that have none."""
        self._execute(cursor, _NOTE_ZONE, zone, self._models_schema)

    def removed(self, cursor: Cursor) -> dict[str, str]:
        """Relations of models that the project has no longer, as ``schema.name``, and since when."""
        self._execute(cursor, _REMOVED, self._models_schema)
        return dict(cursor.fetchall())

    def note_removed(self, cursor: Cursor, left: dict[str, str]) -> None:
        """Notes such relations in place of those that were noted: since when, by ``schema.name``."""
        self._execute(cursor, _NOTE_REMOVED, json.dumps(left), self._models_schema)
