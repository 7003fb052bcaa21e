"""Which version of the dbt project built the models, as Postgres remembers it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.project.manifest import Manifest, storable_json
from cht_sync.dbt.project.version import Deployment
from cht_sync.dbt.tables.built_models import TABLE as BUILT
from cht_sync.dbt.tables.deployment_table import DeploymentTable
from cht_sync.dbt.tables.models_zone import UTC
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.connection import connect, explained
from cht_sync.postgres.locks import Locks
from cht_sync.postgres.query import Names, one_row
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.migrations import Schema

TABLES = ("couchdb_deployment", "_dataemon")
LOCKS = "couchdb_dbt_lock"
WRITTEN = (*TABLES, BUILT, LOCKS)
RIGHTS = "select, insert, update, delete"
_READY = "select count(*) from pg_tables where schemaname = %s and tablename = any(%s)"
_MANIFEST = """
select manifest from {schema}._dataemon where coalesce(dbt_selector, '') = %s and manifest is not null
order by inserted_on desc nulls last limit 1
"""
_FORGET = "delete from {schema}._dataemon where coalesce(dbt_selector, '') = %s"
_REMEMBER = """
insert into {schema}._dataemon (inserted_on, packages, manifest, dbt_selector)
values (now() at time zone 'utc', %s, %s, nullif(%s, ''))
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the models of a schema were deployed from.

    :param versions: version by group of models, the newest deployment first.
    :param held: what was rolled back from, as :attr:`Deployment.content`; empty where nothing was.
    """

    versions: dict[str, str]
    held: str = ""

    def version(self, groups: Sequence[str]) -> str | None:
        """The version that was deployed last, of these groups where possible; None before the first deployment."""
        ours = [version for models, version in self.versions.items() if models in groups]
        return next(iter([*ours, *self.versions.values()]), None)

    def is_for(self, groups: Sequence[str], version: str) -> bool:
        """Whether every group was deployed from a version."""
        return all(self.versions.get(models) == version for models in groups)


class Deployments:
    """The tables ``couchdb_deployment`` and ``_dataemon``, in the schema of the documents."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._schema = settings.raw_table.schema
        self._names = Names(self._schema)
        self._table = DeploymentTable(self._schema, settings.dbt_schema)

    def prepare(self) -> None:
        """Creates the tables, and lets the role of the models write them; a SettingsError where it may not do that."""
        connection, models_role = postgres_connection(self._settings), dbt_connection(self._settings).login or ""
        with closing(connect(connection, "cht_sync deployments")) as conn:
            Schema(conn, connection, self._settings.raw_table).prepare()
            with explained(connection, f"let role {models_role!r} record deployments"), conn, conn.cursor() as cursor:
                for table in WRITTEN:
                    relation = sql.Identifier(self._schema, table)
                    if _may_record(cursor, models_role, relation):
                        continue
                    grant = sql.SQL("grant {} on {} to {}")
                    cursor.execute(grant.format(sql.SQL(RIGHTS), relation, sql.Identifier(models_role)))
                    # Who has a right and may not give it away is warned only.
                    if not _may_record(cursor, models_role, relation):
                        raise SettingsError(
                            f"Role {connection.login!r} may not let role {models_role!r} record deployments in"
                            f" {self._schema}.{table}: run include/roles/roles.sql, or"
                            f" `grant {RIGHTS} on {self._schema}.{table} to {models_role}` as its owner."
                        )

    def recorded(self) -> Recorded:
        """What is recorded; nothing where the tables are not there yet."""
        with self._cursor() as cursor:
            return self._recorded(cursor) if self._ready(cursor) else Recorded({})

    def manifests(self, groups: Sequence[str]) -> dict[str, Manifest | None]:
        """The manifest that each group was deployed from; for one that never was, another one of this project.

        CHT Sync 2.x left one too.
        """
        with self._cursor() as cursor:
            if not self._ready(cursor):
                return dict.fromkeys(groups)
            others = list(self._recorded(cursor).versions)
            return {models: self._manifest(cursor, [models, *others]) for models in groups}

    def record_first(self, deployment: Deployment, groups: Sequence[str]) -> bool:
        """Notes what is about to build the first models of all; False where anything is known of them already."""
        with self._cursor() as cursor:
            if not self._ready(cursor) or self._recorded(cursor).versions:
                return False
            if any(self._manifest(cursor, [models]) for models in groups):
                return False
            self.record(cursor, deployment, groups, Recorded({}), "")
        return True

    def record(
        self, cursor: Cursor, deployment: Deployment, groups: Sequence[str], before: Recorded, held: str
    ) -> None:
        """Notes a deployment, in a transaction of the caller's with either role.

        :param before: what was recorded when this deployment began.
        :param held: what is rolled back from, as :attr:`Deployment.content`; empty for none.
        :raises StoreError: if another deployment came in between; the caller's transaction must not be committed.
        """
        # Two of them read before either writes.
        dbt_locks(self._settings).wait(cursor, f"deployment {self._settings.dbt_schema}")
        self._check(self._recorded(cursor), deployment, groups, before)
        # Models that nobody has made yet compute their dates in UTC; of others a run notes in which zone they do.
        known = self._recorded(cursor).versions or any(self._manifest(cursor, [models]) for models in groups)
        zone = None if known else UTC
        manifest = storable_json(deployment.manifest.read_text())
        packages = json.dumps({"packages": [{"source": deployment.source, "revision": deployment.revision}]})
        for models in groups:
            self._names.execute(cursor, _FORGET, (models,))
            self._names.execute(cursor, _REMEMBER, (packages, manifest, models))
            version = (deployment.version, deployment.source, deployment.revision)
            self._table.record(cursor, models, version, held=held or None, zone=zone)

    def require_unchanged(self, deployment: Deployment, groups: Sequence[str], before: Recorded) -> None:
        """Refuses a deployment, by a StoreError, if another version was deployed since it began."""
        self._check(self.recorded(), deployment, groups, before)

    def _check(self, now: Recorded, deployment: Deployment, groups: Sequence[str], before: Recorded) -> None:
        for models in groups:
            if now.versions.get(models) not in {before.versions.get(models), deployment.version}:
                raise StoreError(
                    f"Another version of the dbt project was deployed to schema {self._settings.dbt_schema!r} since"
                    " this run looked; nothing was changed: trigger the DAG cht_pipeline_deploy again."
                )

    def _recorded(self, cursor: Cursor) -> Recorded:
        rows = self._table.recorded(cursor)
        held = next((each for _, _, each in rows if each), "")
        return Recorded({models: version for models, version, _ in rows}, held)

    def _manifest(self, cursor: Cursor, choices: Sequence[str]) -> Manifest | None:
        for models in choices:
            self._names.execute(cursor, _MANIFEST, (models,))
            if row := cursor.fetchone():
                return row[0]
        return None

    def _ready(self, cursor: Cursor) -> bool:
        cursor.execute(_READY, (self._schema, list(TABLES)))
        return one_row(cursor)[0] == len(TABLES)

    def _cursor(self) -> AbstractContextManager[Cursor]:
        doing = "read or write which dbt project the models come from"
        return transaction(postgres_connection(self._settings), "cht_sync deployments", doing)


def dbt_locks(settings: Settings) -> Locks:
    """The locks of whoever runs dbt, with the right of its role."""
    return Locks(settings.raw_table.schema, LOCKS)


def _may_record(cursor: Cursor, role: str, relation: sql.Identifier) -> bool:
    cursor.execute(
        "select bool_and(has_table_privilege(%s, %s, one)) from unnest(%s) as one",
        (role, relation.as_string(cursor), RIGHTS.split(", ")),
    )
    return one_row(cursor)[0]
