"""In which time zone the models compute dates: one that is noted, so that no column holds dates of two."""

from __future__ import annotations

from cht_sync.dbt.tables.deployment_table import DeploymentTable
from cht_sync.postgres.lookups import column_exists, relation_exists, value_of
from cht_sync.postgres.query import Names
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

UTC = "UTC"
DOING = "read or write the time zone of the models"
_LEFT = "select exists (select from {schema}._dataemon where manifest is not null)"
# What the session of the role began with, by server, database, role or PGTZ; connect() has set another one since.
_OF_SESSION = "select reset_val from pg_settings where name = 'TimeZone'"


def models_zone(settings: Settings) -> str:
    """The time zone for dbt's sessions.

    Where there are models of CHT Sync 2.x or of an earlier release, it is the one they were computed in, that of the
    role's sessions, and is noted at once; else UTC.
    """
    schema = settings.raw_table.schema
    table = DeploymentTable(schema, settings.dbt_schema)
    with transaction(postgres_connection(settings), "cht_sync time zone", DOING) as cursor:
        noted = table.zones(cursor) if relation_exists(cursor, schema, "couchdb_deployment") else []
        if zones := [zone for zone in noted if zone]:
            return zones[0]
        left = relation_exists(cursor, schema, "_dataemon") and value_of(cursor, Names(schema).compose(_LEFT))
        if not (noted or left):
            return UTC
        with transaction(dbt_connection(settings), "cht_sync time zone", DOING) as session:
            zone = str(value_of(session, _OF_SESSION))
        if column_exists(cursor, schema, "couchdb_deployment", "time_zone"):
            table.note_zone(cursor, zone)
        return zone
