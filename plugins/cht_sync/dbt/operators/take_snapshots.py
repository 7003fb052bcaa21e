"""The task that takes the snapshots of the dbt project."""

from __future__ import annotations

import json
import logging
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtSnapshotLocalOperator

from cht_sync.dbt.launch.outcome import messages_of, node_results
from cht_sync.dbt.launch.resolved_selectors import with_selections
from cht_sync.dbt.operators.dbt_task import DbtTaskMixin
from cht_sync.dbt.project.groups import chosen_models
from cht_sync.dbt.project.manifest import Node, reachable
from cht_sync.dbt.project.version import require_current
from cht_sync.dbt.tables.model_results import FAILED
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)


def left_out(settings: Settings) -> list[str]:
    """``fqn:`` paths of snapshots that would fail: of models that DBT_SELECTOR does not choose and that are absent."""
    deployment = require_current(settings)
    manifest = json.loads(deployment.manifest.read_text())
    chosen = chosen_models(with_selections(json.loads(deployment.graph.read_text()), deployment.path), settings)
    nodes, found = manifest["nodes"], []
    with transaction(dbt_connection(settings), "cht_sync snapshots", "look for what snapshots read") as cursor:
        for name, node in sorted(nodes.items()):
            read = _read(nodes, name) - chosen if node["resource_type"] == "snapshot" else set()
            places = [(nodes[one]["schema"], nodes[one]["alias"]) for one in read]
            if absent := sorted(".".join(place) for place in places if not relation_exists(cursor, *place)):
                log.warning("%s is not taken: DBT_SELECTOR does not choose %s.", node["name"], ", ".join(absent))
                found.append(".".join(node["fqn"]))
    return found


def _read(nodes: dict[str, Node], name: str) -> set[str]:
    """The models with a relation that a snapshot reads, also through those without one and other snapshots."""
    passed = {
        one: node["depends_on"]["nodes"]
        for one, node in nodes.items()
        if node["resource_type"] == "snapshot" or node.get("config", {}).get("materialized") == "ephemeral"
    }
    read = reachable(passed[name], passed)
    return {one for one in read if one in nodes and one not in passed and nodes[one]["resource_type"] == "model"}


class TakeSnapshots(DbtTaskMixin, DbtSnapshotLocalOperator):
    """Runs ``dbt snapshot`` for all snapshots of the project, while no models run.

    It is skipped until the models have run to a good end once: a snapshot of half of them would say for ever that the
    other half came later.
    """

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Runs dbt; skips where nothing has been modelled yet."""
        settings = Settings()
        settings.check()
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema, settings.dbt_selector)
        if runs.state().modelled_to is None:
            raise AirflowSkipException("Nothing has been modelled yet, so there is nothing to take a snapshot of.")
        self.exclude = " ".join(f"fqn:{path}" for path in left_out(settings)) or None
        super().execute(context, **kwargs)

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Names what failed."""
        if failed := [one for one in node_results(result) if str(one.status) in FAILED]:
            raise CosmosDbtRunError(f"dbt snapshot failed: {messages_of(failed)}")
        super().handle_exception_dbt_runner(result)
