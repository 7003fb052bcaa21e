"""Rebuilds models in staging schemas while those in use are read, and swaps them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.dbt_process import DbtProcess
from cht_sync.dbt.rebuild.hooks import HookStatements
from cht_sync.dbt.rebuild.keepable import require_keepable
from cht_sync.dbt.rebuild.manifest import read_manifest, staging_schema
from cht_sync.dbt.rebuild.plan import RebuildPlan
from cht_sync.dbt.rebuild.relation import find
from cht_sync.dbt.rebuild.staging_schemas import SESSION, clear, identify_rows, prepare, require_owned
from cht_sync.dbt.rebuild.swap import StagedModels, Swap, Swapped
from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.dbt.tables.built_models import BuiltModels
from cht_sync.postgres.connection import connect, explained
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)

# After a build that took longer, most of what arrived meanwhile is taken in before the minute-by-minute runs wait.
CATCH_UP_TWICE_AFTER_S = 60.0


@dataclass(frozen=True, slots=True)
class RebuiltModel:
    """A model that was rebuilt.

    :param relation: its ``schema.name``.
    :param rows_before: rows when the rebuild was planned; None where it was not there.
    :param rows: rows now; None where it has no relation.
    """

    name: str
    relation: str
    rows_before: int | None
    rows: int | None


@dataclass(frozen=True, slots=True)
class RebuildReport:
    """How a rebuild went.

    :param build_s: seconds that dbt built while the models in use went on.
    :param waited_s: seconds for which the minute-by-minute runs of the models had to wait.
    :param locked_s: seconds for which a reader had to wait at most.
    """

    models: tuple[RebuiltModel, ...]
    build_s: float
    waited_s: float
    locked_s: float
    tries: int
    notes: tuple[str, ...]


def rebuild(
    settings: Settings,
    folder: Path,
    plan: RebuildPlan,
    *,
    holder: str,
    in_swap: Callable[[Cursor], None],
    published: Callable[[], None],
) -> RebuildReport:
    """Builds the models of a plan in staging schemas, and puts them in the place of those in use in one transaction.

    Whatever fails or is killed before the commit leaves the models in use as they were. After it, they are the new
    ones, with every constraint that the project declares, grants, comments and user-defined views.

    :param plan: what to build; at least one model.
    :param holder: who asks, shown to those who wait.
    :param in_swap: called inside the transaction of the swap; again, where readers held it up.
    :param published: called right after its commit, while no other run of the models can begin.
    :raises RebuildError: if dbt fails or is killed, a constraint is missing, or readers do not let go.
    :raises SettingsError: if a right is missing, or an object that depends on a model does not fit.
    """
    connection, manifest = dbt_connection(settings), read_manifest(folder)
    nodes = [manifest["nodes"][name] for name in plan.unique_ids]
    schemas = {name: staging_schema(name) for name in {settings.dbt_schema, *(node["schema"] for node in nodes)}}
    staging = schemas[settings.dbt_schema]
    places = {node["unique_id"]: (node["schema"], node["alias"]) for node in nodes}
    require_owned(connection, places.values())
    with transaction(connection, SESSION, "look at what hangs on the models") as cursor:
        cursor.execute("set local search_path = ''")
        in_use = [found for place in places.values() if (found := find(cursor, *place))]
        require_keepable(cursor, in_use, connection.login)
        built = BuiltModels(cursor, settings.raw_table.schema).read()

    def swap(dbt: DbtProcess) -> Swapped:
        def also(cursor: Cursor) -> None:
            in_swap(cursor)
            batches = {places[name]: noted for name, noted in dbt.batches.items()}
            BuiltModels(cursor, settings.raw_table.schema).record_batches(batches)

        staged = StagedModels(manifest, plan, schemas, built, HookStatements(dbt.hook_statements))
        doing = "put the models in place that were built anew"
        with closing(connect(connection, f"{holder[:50]} swap")) as conn, explained(connection, doing):
            return Swap(conn, connection.login, staged).run(also)

    # Whoever else rebuilds on this schema waits here.
    with schema_lock(settings, staging, f"{holder} rebuild"):
        prepare(connection, schemas.values())
        try:
            with DbtProcess(settings, folder, staging) as dbt:
                build_s = _build(connection, dbt, plan, schemas)
                with schema_lock(settings, settings.dbt_schema, holder):
                    began = time.monotonic()
                    dbt.run(plan.unique_ids, schemas, full_refresh=False)
                    swapped = swap(dbt)
                    published()
                    waited_s = time.monotonic() - began
        finally:
            _clear(connection, schemas)
    made = tuple(
        RebuiltModel(model.name, model.relation, model.rows, swapped.rows.get(model.unique_id)) for model in plan.models
    )
    times = round(build_s, 1), round(waited_s, 1), round(swapped.locked_s, 3)
    return RebuildReport(made, *times, swapped.tries, tuple(swapped.notes))


def _build(connection: Connection, dbt: DbtProcess, plan: RebuildPlan, schemas: dict[str, str]) -> float:
    """Builds in the staging schemas, while the models in use go on; returns the seconds it took."""
    began = time.monotonic()
    dbt.run(plan.unique_ids, schemas, full_refresh=True)
    identify_rows(connection, schemas)
    if time.monotonic() - began > CATCH_UP_TWICE_AFTER_S:
        dbt.run(plan.unique_ids, schemas, full_refresh=False)
    return time.monotonic() - began


def _clear(connection: Connection, schemas: dict[str, str]) -> None:
    try:
        clear(connection, schemas.values())
    except Exception as error:
        # The next rebuild empties them first; what went before says more than this.
        log.warning("What was built aside could not be taken away: %s", error)
