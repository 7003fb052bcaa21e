"""Rebuilds models in staging schemas while those in use are read, and swaps them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.dbt_process import DbtProcess
from cht_sync.dbt.rebuild.hooks import HookStatements
from cht_sync.dbt.rebuild.keepable import require_keepable
from cht_sync.dbt.rebuild.manifest import read_manifest, staging_schema
from cht_sync.dbt.rebuild.plan import RebuildPlan
from cht_sync.dbt.rebuild.relation import find
from cht_sync.dbt.rebuild.staging_schemas import SESSION, clear, identify_rows, prepare, require_owned
from cht_sync.dbt.rebuild.swap import Swap, Swapped
from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.dbt.tables.built_models import BuiltModels
from cht_sync.postgres.connection import connect, explained
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings

# After a build that took longer, most of what arrived meanwhile is taken in before the minute-by-minute runs wait.
CATCH_UP_TWICE_AFTER_S = 60.0


def rebuild(
    settings: Settings,
    folder: Path,
    plan: RebuildPlan,
    *,
    holder: str,
    in_swap: Callable[[Cursor], None],
    published: Callable[[], None],
) -> dict[str, Any]:
    """Builds the models of a plan in staging schemas, and puts them in the place of those in use in one transaction.

    Whatever fails or is killed before the commit leaves the models in use as they were. After it, they are the new
    ones, with every constraint that the project declares, grants, comments and user-defined views.

    :param plan: what to build; at least one model.
    :param holder: who asks, shown to those who wait.
    :param in_swap: called inside the transaction of the swap; again, where readers held it up.
    :param published: called right after its commit, while no other run of the models can begin.
    :return: ``models``, each with its rows when the rebuild was planned and now, None where it had or has no relation;
        ``build_s``, seconds that dbt built while the models in use went on; ``waited_s``, seconds for which the
        minute-by-minute runs of the models had to wait; ``locked_s``, seconds for which a reader had to wait at most;
        ``tries`` of the swap; ``notes``, what people have to know of.
    :raises RebuildError: if dbt fails or is killed, a constraint is missing, or readers do not let go.
    :raises SettingsError: if a right is missing, or an object that depends on a model does not fit.
    """
    connection, manifest = dbt_connection(settings), read_manifest(folder)
    nodes = [manifest["nodes"][name] for name in plan.unique_ids]
    schemas = {name: staging_schema(name) for name in {settings.dbt_schema, *(node["schema"] for node in nodes)}}
    staging = schemas[settings.dbt_schema]
    places = {node["unique_id"]: (node["schema"], node["alias"]) for node in nodes}
    require_owned(connection, places.values())
    with transaction(connection, SESSION, "look at what depends on the models") as cursor:
        cursor.execute("set local search_path = ''")
        in_use = [found for place in places.values() if (found := find(cursor, *place))]
        require_keepable(cursor, in_use, connection.login)
        built = BuiltModels(cursor, settings.raw_table.schema).read()

    def swap(dbt: DbtProcess) -> Swapped:
        def also(cursor: Cursor) -> None:
            in_swap(cursor)
            batches = {places[name]: noted for name, noted in dbt.batches.items()}
            BuiltModels(cursor, settings.raw_table.schema).record_batches(batches)

        hooks, doing = HookStatements(dbt.hook_statements), "put the rebuilt models in place"
        with closing(connect(connection, f"{holder[:50]} swap")) as conn, explained(connection, doing):
            return Swap(conn, connection.login, manifest, plan, schemas, built=built, of_hooks=hooks).run(also)

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
            clear(connection, schemas.values())
    rows = swapped.rows
    return {
        "models": [
            {"name": each.name, "relation": each.relation, "rows_before": each.rows, "rows": rows.get(each.unique_id)}
            for each in plan.models
        ],
        "build_s": round(build_s, 1),
        "waited_s": round(waited_s, 1),
        "locked_s": round(swapped.locked_s, 3),
        "tries": swapped.tries,
        "notes": swapped.notes,
    }


def _build(connection: Connection, dbt: DbtProcess, plan: RebuildPlan, schemas: dict[str, str]) -> float:
    """Builds in the staging schemas, while the models in use go on; returns the seconds it took."""
    began = time.monotonic()
    dbt.run(plan.unique_ids, schemas, full_refresh=True)
    identify_rows(connection, schemas)
    if time.monotonic() - began > CATCH_UP_TWICE_AFTER_S:
        dbt.run(plan.unique_ids, schemas, full_refresh=False)
    return time.monotonic() - began
