"""Builds models anew beside those in use, and swaps them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import Connection

from cht_sync.dbt.rebuild.dbt_process import DbtProcess
from cht_sync.dbt.rebuild.keepable import require_keepable
from cht_sync.dbt.rebuild.manifest import aside_schema, read_manifest
from cht_sync.dbt.rebuild.plan import RebuildPlan
from cht_sync.dbt.rebuild.relation import find
from cht_sync.dbt.rebuild.staging_schemas import clear, prepare, require_owned, tell_rows_apart
from cht_sync.dbt.rebuild.swap import Swap, Swapped
from cht_sync.dbt.rebuild.waiting import Waiting
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
    """A model that was built anew.

    :param name: of the model.
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

    :param models: what was built anew.
    :param build_s: seconds that dbt built aside while the models in use went on.
    :param waited_s: seconds for which the minute-by-minute runs of the models had to wait.
    :param locked_s: seconds for which a reader had to wait at most.
    :param tries: tries to get the locks.
    :param notes: what a person should know.
    """

    models: tuple[RebuiltModel, ...]
    build_s: float
    waited_s: float
    locked_s: float
    tries: int
    notes: tuple[str, ...]


def rebuild(  # noqa: PLR0917
    settings: Settings,
    folder: Path,
    plan: RebuildPlan,
    holder: str,
    in_swap: Callable[[Any], None],
    published: Callable[[], None],
) -> RebuildReport:
    """Builds the models of a plan in schemas aside, and puts them in the place of those in use in one transaction.

    Whatever fails or is killed before the commit leaves the models in use as they were. After it, they are the new
    ones, with every constraint that the project declares, grants, comments and the views of people.

    :param settings: the environment.
    :param folder: of the built version.
    :param plan: what to build; at least one model.
    :param holder: who asks, shown to those who wait.
    :param in_swap: called with a cursor inside the transaction of the swap; again, where readers held it up.
    :param published: called right after its commit, while no other run of the models can begin.
    :raises RebuildError: if dbt fails or is killed, a constraint is missing, or readers do not let go.
    :raises SettingsError: if a right is missing, or something that hangs on a model does not fit.
    :raises StoreError: if Postgres fails.
    """
    connection = dbt_connection(settings)
    manifest = read_manifest(folder)
    nodes = [manifest["nodes"][model.unique_id] for model in plan.models]
    schemas = {schema: aside_schema(schema) for schema in {settings.dbt_schema, *(node["schema"] for node in nodes)}}
    aside = schemas[settings.dbt_schema]
    places = [(node["schema"], node["alias"]) for node in nodes]
    require_owned(connection, places)
    with transaction(connection, "cht_sync rebuild", "look at what depends on the models") as cursor:
        cursor.execute("set local search_path = ''")
        in_use = [found for place in places if (found := find(cursor, *place))]
        require_keepable(cursor, in_use, connection.login)
        built = BuiltModels(cursor, settings.raw_table.schema).read()

    waiting: list[dict[str, str]] = []
    batches: dict[Any, Any] = {}

    def noting(cursor: Any) -> None:
        in_swap(cursor)
        BuiltModels(cursor, settings.raw_table.schema).record_batches(batches)

    def exchange() -> Swapped:
        doing = "put the rebuilt models in place"
        with closing(connect(connection, f"{holder[:50]} swap")) as conn, explained(connection, doing):
            return Swap(conn, connection, manifest, plan, schemas, built, Waiting(waiting)).run(noting)

    # Whoever else rebuilds on this schema waits here.
    with schema_lock(settings, aside, f"{holder} rebuild"):
        prepare(connection, schemas.values())
        try:
            with DbtProcess(settings, folder, aside) as dbt:
                build_s = _build(connection, dbt, plan, schemas, waiting)
                with schema_lock(settings, settings.dbt_schema, holder):
                    began = time.monotonic()
                    waiting += dbt.run(plan.unique_ids, schemas, full_refresh=False)
                    places_of = {node["unique_id"]: (node["schema"], node["alias"]) for node in nodes}
                    batches |= {places_of[name]: noted for name, noted in dbt.batches.items()}
                    swapped = exchange()
                    published()
                    waited_s = time.monotonic() - began
        finally:
            _clear(connection, schemas)
    made = tuple(
        RebuiltModel(model.name, model.relation, model.rows, swapped.rows.get(model.unique_id)) for model in plan.models
    )
    times = round(build_s, 1), round(waited_s, 1), round(swapped.locked_s, 3)
    return RebuildReport(made, *times, swapped.tries, tuple(swapped.notes))


def _build(
    connection: Connection,
    dbt: DbtProcess,
    plan: RebuildPlan,
    schemas: dict[str, str],
    waiting: list[dict[str, str]],
) -> float:
    """Builds aside, while the models in use go on; returns the seconds it took."""
    began = time.monotonic()
    waiting += dbt.run(plan.unique_ids, schemas, full_refresh=True)
    tell_rows_apart(connection, schemas)
    if time.monotonic() - began > CATCH_UP_TWICE_AFTER_S:
        waiting += dbt.run(plan.unique_ids, schemas, full_refresh=False)
    return time.monotonic() - began


def _clear(connection: Connection, schemas: dict[str, str]) -> None:
    try:
        clear(connection, schemas.values())
    except Exception as error:
        # The next rebuild empties them first; what went before says more than this.
        log.warning("The staging schemas could not be dropped: %s", error)
