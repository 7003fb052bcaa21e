"""Relations of models that are run no longer: remembered, named, and dropped on demand.

The project has them no longer, or ``DBT_SELECTOR`` does not choose them. ``chosen`` are unique ids of the models that
are run; relations are named ``schema.name``.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.project.manifest import Manifest, Node
from cht_sync.dbt.rebuild import api_views
from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.manifest import models, tables
from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.dbt.tables.deployment_table import DeploymentTable
from cht_sync.errors import SettingsError
from cht_sync.postgres.lookups import relation_exists, value_of
from cht_sync.postgres.query import Names
from cht_sync.postgres.transaction import transaction
from cht_sync.redaction import dependents_of
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)

ALL = "all"
LOCK_TIMEOUT = "5s"
_KIND = """
select case c.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end,
    pg_get_userbyid(c.relowner), pg_has_role(c.relowner, 'usage')
from pg_class c where c.oid = to_regclass(%s) and c.relkind in ('r', 'p', 'v', 'm')
"""
_RAN = "select model from {schema}.couchdb_model_result where models_schema = %s"
_NOW = "select to_char(now() at time zone 'utc', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"


class RemovedModels:
    """What ``couchdb_deployment`` knows of them, for the models of one schema; its tables have to be prepared."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._models_schema = settings, settings.dbt_schema
        self._names = Names(settings.raw_table.schema)
        self._table = DeploymentTable(settings.raw_table.schema, settings.dbt_schema)

    def known(self) -> list[str]:
        """Those that are still there, as ``schema.name``."""
        connection = postgres_connection(self._settings)
        with transaction(connection, "cht_sync removed models", "read which models were removed") as cursor:
            return [name for name in self._table.removed(cursor) if _exists(cursor, name)]

    def unchosen(self, manifest: Manifest, chosen: Collection[str]) -> list[str]:
        """Those of models in the project that have run but are not chosen; no views, which hold no rows."""
        connection = postgres_connection(self._settings)
        with transaction(connection, "cht_sync removed models", "read which models have run") as cursor:
            if not relation_exists(cursor, self._settings.raw_table.schema, "couchdb_model_result"):
                return []
            self._names.execute(cursor, _RAN, (self._models_schema,))
            left = {name for (name,) in cursor.fetchall()} - set(chosen)
            places = sorted(_place(node) for name, node in models(manifest).items() if name in left and _holds(node))
            return [place for place in places if _exists(cursor, place)]

    def differs(self, manifest: Manifest, chosen: Collection[str]) -> bool:
        """Whether what is remembered is not what :meth:`note` would remember, since others are chosen."""
        known = set(self.known())
        return bool(known & _made(manifest, chosen)) or not set(self.unchosen(manifest, chosen)) <= known

    def require_known(self, names: Sequence[str]) -> list[str]:
        """What the Param ``drop_removed`` names: relations, or ``all``.

        :raises SettingsError: if one of them is no relation of a removed model.
        """
        known = self.known()
        unknown = [name for name in names if name != ALL and name not in known]
        if unknown:
            raise SettingsError(
                f"Param drop_removed names {unknown[0]!r}, which is no relation of a model that was removed:"
                f" {', '.join(known) or 'there is none'}."
            )
        return self.asked(names, known)

    def asked(self, names: Sequence[str], known: list[str] | None = None) -> list[str]:
        """What of it is there still.

        :param known: what is still there at all, by default read now.
        """
        known = self.known() if known is None else known
        return known if ALL in names else [name for name in known if name in names]

    def note(self, cursor: Cursor, manifest: Manifest, chosen: Collection[str], removed: Iterable[str]) -> list[str]:
        """Remembers what is no longer made, forgets what is made again or dropped, and returns all that are there.

        :param cursor: in the transaction that records the deployment.
        :param removed: relations that only the version before made, and those of :meth:`unchosen`.
        """
        made = _made(manifest, chosen)
        found = {**dict.fromkeys(removed, value_of(cursor, _NOW)), **self._table.removed(cursor)}
        left = {name: since for name, since in found.items() if name not in made and _exists(cursor, name)}
        self._table.note_removed(cursor, left)
        return sorted(left)

    def drop(self, names: Collection[str], holder: str) -> None:
        """Drops relations, and nothing that depends on them.

        :param holder: who asks, shown to those who wait for the lock.
        :raises SettingsError: if one belongs to another role.
        :raises RebuildError: if a user-defined object depends on one.
        :raises StoreError: if Postgres fails, or readers hold one for long.
        """
        connection = dbt_connection(self._settings)
        with (
            schema_lock(self._settings, self._settings.dbt_schema, holder),
            transaction(connection, "cht_sync removed models", "drop what removed models have left") as cursor,
        ):
            cursor.execute("select set_config('lock_timeout', %s, true)", (LOCK_TIMEOUT,))
            shown = api_views.withdraw(cursor)
            waiting = sorted(names)
            while waiting:
                left = [name for name in waiting if not self._dropped(cursor, name, last=len(waiting) == 1)]
                if left == waiting:
                    self._dropped(cursor, left[0], last=True)
                waiting = left
            recorded = self._table.removed(cursor)
            self._table.note_removed(cursor, {name: since for name, since in recorded.items() if name not in names})
            if shown:
                api_views.refresh(cursor)
        for name in sorted(names):
            log.info("%s, which was of no model any more, is dropped.", name)

    def _dropped(self, cursor: Cursor, name: str, last: bool) -> bool:
        """Whether it could be dropped: one that another of them hangs on has to wait for that."""
        schema, _, table = name.partition(".")
        identifier = sql.Identifier(schema, table)
        cursor.execute(_KIND, (identifier.as_string(cursor),))
        found = cursor.fetchone()
        if not found:
            return True
        kind, owner, ours = found
        if not ours:
            raise SettingsError(f"{name} belongs to role {owner!r}, who has to drop it; nothing was dropped.")
        cursor.execute("savepoint dropping")
        try:
            # Without cascade: what people have made upon it is theirs.
            cursor.execute(sql.SQL("drop {} {}").format(sql.SQL(kind), identifier))
        except psycopg2.errors.DependentObjectsStillExist as error:
            cursor.execute("rollback to savepoint dropping")
            if not last:
                return False
            raise RebuildError(
                f"{name} cannot be dropped, nothing was: {dependents_of(error)}; drop that first, or leave {name} as it"
                " is."
            ) from None
        return True


def readers(manifest: Manifest, chosen: Collection[str]) -> dict[str, list[str]]:
    """Models that are run and read one that is not, by the ``schema.name`` of that."""
    found: dict[str, list[str]] = {}
    made = models(manifest)
    for name, node in sorted(manifest["nodes"].items()):
        for parent in node.get("depends_on", {}).get("nodes", ()) if name in chosen else ():
            read = made.get(parent)
            if read and parent not in chosen and _holds(read):
                found.setdefault(_place(read), []).append(node["name"])
    return found


def _made(manifest: Manifest, chosen: Collection[str]) -> set[str]:
    nodes = tables({"nodes": manifest.get("nodes", {})}).items()
    return {_place(node) for name, node in nodes if name in chosen or not _holds(node)}


def _holds(node: Node) -> bool:
    """Whether it is a model whose relation holds rows, which get old."""
    return bool(node["resource_type"] == "model" and node["config"]["materialized"] != "view")


def _place(node: Node) -> str:
    return f"{node['schema']}.{node['alias']}"


def _exists(cursor: Cursor, name: str) -> bool:
    schema, _, table = name.partition(".")
    return relation_exists(cursor, schema, table)
