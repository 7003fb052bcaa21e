"""The task that takes the snapshots of the dbt project."""

from __future__ import annotations

import json
import logging
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtSnapshotLocalOperator
from psycopg2 import sql

from cht_sync.dbt.launch.resolved_selectors import with_selections
from cht_sync.dbt.operators.dbt_task import DbtTaskMixin
from cht_sync.dbt.project.groups import chosen_models
from cht_sync.dbt.project.version import require_current
from cht_sync.dbt.tables.model_results import FAILED
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.postgres.transaction import transaction
from cht_sync.redaction import of_text
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)


def left_out(settings: Settings) -> list[str]:
    """Snapshots of models that ``DBT_SELECTOR`` does not choose and that are not there: dbt would fail on them.

    :param settings: the environment.
    :return: the path of each, for ``fqn:``.
    :raises StoreError: if Postgres fails.
    """
    deployment = require_current(settings)
    manifest = json.loads(deployment.manifest.read_text())
    chosen = chosen_models(with_selections(json.loads(deployment.graph.read_text()), deployment.path), settings)
    nodes, found = manifest["nodes"], []
    with transaction(dbt_connection(settings), "cht_sync snapshots", "look for what snapshots read") as cursor:
        for name, node in sorted(nodes.items()):
            read = _read(nodes, name) - chosen if node["resource_type"] == "snapshot" else set()
            if absent := sorted(
                f"{nodes[one]['schema']}.{nodes[one]['alias']}" for one in read if _absent(cursor, nodes[one])
            ):
                log.warning("%s is not taken: DBT_SELECTOR does not choose %s.", node["name"], ", ".join(absent))
                found.append(".".join(node["fqn"]))
    return found


def _read(nodes: dict[str, Any], name: str) -> set[str]:
    """The models with a relation that a snapshot reads, also through those without one and other snapshots."""
    found, waiting = set[str](), list(nodes[name]["depends_on"]["nodes"])
    while waiting:
        parent = nodes.get(waiting.pop(), {})
        if parent.get("resource_type") == "snapshot" or parent.get("config", {}).get("materialized") == "ephemeral":
            waiting += parent["depends_on"]["nodes"]
        elif parent.get("resource_type") == "model":
            found.add(parent["unique_id"])
    return found


def _absent(cursor: Any, node: dict[str, Any]) -> bool:
    cursor.execute("select to_regclass(%s) is null", (sql.Identifier(node["schema"], node["alias"]).as_string(cursor),))
    return bool(cursor.fetchone()[0])


class TakeSnapshots(DbtTaskMixin, DbtSnapshotLocalOperator):
    """Runs ``dbt snapshot`` for all snapshots of the project, while no models run.

    It is skipped until the models have completed a run: a snapshot of half of them would say for ever that the other
    half came later.
    """

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Runs dbt.

        :param context: of the task.
        :raises AirflowSkipException: if nothing has been modelled yet.
        :raises CosmosDbtRunError: if a snapshot failed, with its name.
        """
        settings = Settings()
        settings.check()
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema, settings.dbt_selector)
        if runs.state().modelled_to is None:
            raise AirflowSkipException("Nothing has been modelled yet, so there is nothing to take a snapshot of.")
        self.exclude = " ".join(f"fqn:{path}" for path in left_out(settings)) or None
        super().execute(context, **kwargs)

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Names what failed.

        :param result: what dbt returned.
        :raises CosmosDbtRunError: if anything failed.
        """
        results = getattr(result.result, "results", None) or []
        failed = [one for one in results if str(one.status) in FAILED]
        if failed:
            said = "; ".join(f"{one.node.name}: {of_text(one.message or '')}" for one in failed)
            raise CosmosDbtRunError(f"dbt snapshot failed: {said}")
        super().handle_exception_dbt_runner(result)
