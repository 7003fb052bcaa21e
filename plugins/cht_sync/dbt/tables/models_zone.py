"""In which time zone the models compute dates: one that is noted, so that no column holds dates of two."""

from __future__ import annotations

from cht_sync.dbt.tables.deployment_table import DeploymentTable
from cht_sync.postgres.connection import regclass_text
from cht_sync.postgres.query import Names, one_row
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

UTC = "UTC"
DOING = "read or write the time zone of the models"
_READY = "select to_regclass(%s) is not null, to_regclass(%s) is not null"
_LEFT = "select exists (select from {schema}._dataemon where manifest is not null)"
_HAS_COLUMN = """
select exists (select from pg_attribute where attrelid = to_regclass(%s) and attname = 'time_zone' and not attisdropped)
"""
# What the session of the role began with, by server, database, role or PGTZ; connect() has set another one since.
_OF_SESSION = "select reset_val from pg_settings where name = 'TimeZone'"


def models_zone(settings: Settings) -> str:
    """The time zone for dbt's sessions.

    Where there are models of CHT Sync 2.x or of an earlier release, it is the one they were computed in, that of the
    role's sessions, and is noted at once; else UTC.
    """
    table = DeploymentTable(settings.raw_table.schema, settings.dbt_schema)
    deployments = regclass_text(settings.raw_table.schema, "couchdb_deployment")
    with transaction(postgres_connection(settings), "cht_sync time zone", DOING) as cursor:
        cursor.execute(_READY, (deployments, regclass_text(settings.raw_table.schema, "_dataemon")))
        has_deployments, has_manifests = one_row(cursor)
        noted: list[str | None] = []
        if has_deployments:
            noted = table.zones(cursor)
        if zones := [zone for zone in noted if zone]:
            return zones[0]
        left = False
        if has_manifests:
            Names(settings.raw_table.schema).execute(cursor, _LEFT)
            left = one_row(cursor)[0]
        if not (noted or left):
            return UTC
        zone = _of_session(settings)
        cursor.execute(_HAS_COLUMN, (deployments,))
        if one_row(cursor)[0]:
            table.note_zone(cursor, zone)
        return zone


def _of_session(settings: Settings) -> str:
    with transaction(dbt_connection(settings), "cht_sync time zone", DOING) as cursor:
        cursor.execute(_OF_SESSION)
        return str(one_row(cursor)[0])
