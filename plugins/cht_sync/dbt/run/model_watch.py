"""Looks at each model when dbt has ended with it: what it holds, what it fails on; and remembers it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from typing import Any

import psycopg2
from psycopg2 import sql

from cht_sync.dbt.project.lineage import Lineage
from cht_sync.dbt.run.contracts import Contracts
from cht_sync.dbt.run.ending import is_ending
from cht_sync.dbt.run.failing_documents import documents_at_fault
from cht_sync.dbt.run.guard import cascades, unsafe_to_run
from cht_sync.dbt.run.row_counts import RowCounts
from cht_sync.dbt.run.row_security import require_seen
from cht_sync.dbt.tables.model_results import FAILED, SHRUNK, ModelResult, ModelResults, with_ids
from cht_sync.postgres.connection import connect, explained
from cht_sync.postgres.lookups import relation_exists, value_of
from cht_sync.redaction import of_text
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)


class ModelWatch:
    """Takes dbt's events, judges each model that has ended and records it. Models go by their unique id.

    :param compiled: gives the SQL of a model that dbt has compiled, by unique id.
    :param lift: accept any number of rows.
    :param on_result: is given each result as soon as it is known, with dbt's information of the model.
    """

    def __init__(
        self,
        settings: Settings,
        lineage: Lineage,
        compiled: Callable[[str], str],
        lift: bool = False,
        on_result: Callable[[ModelResult, Any], None] | None = None,
    ) -> None:
        self._settings, self._lineage, self._compiled, self._on_result = settings, lineage, compiled, on_result
        self._judged = lineage.of_documents() & set(lineage.relations)
        self.memory = ModelResults(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        self._before = self.memory.failing()
        self.connection = dbt_connection(settings)
        self._conn = connect(self.connection, "cht_sync models")
        self._conn.autocommit = True
        with explained(self.connection, "look for row security"), self._conn.cursor() as cursor:
            require_seen(cursor, settings.raw_table)
        self._counts = RowCounts(self._conn, {} if lift else self.memory.accepted(), settings.most_drop)
        self._contracts = Contracts(self._conn, postgres_connection(settings), settings.raw_table.schema, lineage.kept)
        self._behind: set[str] = set()
        self._batches: dict[str, Any] = {}
        self._closed = False
        self.counting = True  # not while batches follow each other: large tables take their time
        self.results: dict[str, ModelResult] = {}
        self.error: Exception | None = None

    def close(self) -> None:
        """Gives back the connection."""
        self._closed = True
        self._conn.close()

    def __call__(self, event: Any) -> None:
        """Looks at one event of dbt.

        Source: https://docs.getdbt.com/reference/programmatic-invocations#registering-callbacks
        """
        if self._closed or is_ending():
            return  # a model that was cut off has not failed
        if event.info.name == "SkippingDetails":
            self._behind.add(event.data.node_info.unique_id)
        if event.info.name != "NodeFinished" or event.data.node_info.resource_type != "model":
            return
        try:
            if note := json.loads(getattr(event.data, "batches", "null")):
                self._batches[event.data.node_info.unique_id] = note
            result = self._result(event.data)
            self.results[result.model] = result
            if self._on_result:
                self._on_result(result, event.data.node_info)
        except Exception as error:
            # dbt would swallow it, or count it against the model: who runs dbt raises it afterwards.
            self.error = self.error or error

    def missing_prerequisites(self, models: Collection[str]) -> list[str]:
        """What selects the seeds and snapshots that models read and that are not there yet.

        A new version brings its seeds itself, and snapshots have a schedule of their own; here no model fails because
        the first of these has still to come.
        """
        wanted = sorted(self._lineage.tables[name] for name in self._lineage.read_by(models))
        found = []
        with explained(self.connection, "look for seeds and snapshots"), self._conn.cursor() as cursor:
            for schema, table, path in wanted:
                if not relation_exists(cursor, schema, table):
                    log.info(
                        "%s.%s, a seed or snapshot, is not there yet and is made before what reads it.", schema, table
                    )
                    found.append(f"fqn:{path}")
        return found

    def failing(self) -> set[str]:
        """Models that failed the last time and are still in the project; what is known of others is dropped."""
        gone = set(self._before) - self._lineage.models
        if gone:
            self.memory.forget(gone)
        return set(self._before) - gone

    def since(self, model: str) -> str:
        """When a model began to fail, for a sentence."""
        before = self._before.get(model)
        return f"since {before.since:%Y-%m-%d %H:%M} UTC" if before else "in this run"

    def unsafe_to_run(self, failing: set[str]) -> set[str]:
        """Models that must wait for others."""
        with explained(self.connection, "read the foreign keys"), self._conn.cursor() as cursor:
            return unsafe_to_run(failing, self._lineage, cascades(cursor))

    def changed(self, models: Collection[str]) -> dict[str, str]:
        """Models whose tables are not as they were built, so that dbt must not add to them: a message by unique id."""
        with explained(self.connection, "compare the models with what was built"):
            return self._contracts.changed(models)

    def batches(self, models: Collection[str]) -> dict[str, Any]:
        """Which batches of microbatch models are built, by unique id, as the newest run has noted."""
        with explained(self.connection, "read which batches were built"):
            return self._contracts.batches(models)

    def refuse(self, changed: Mapping[str, str], models: Collection[str]) -> set[str]:
        """Notes that models do not run, nor those that read them; returns all of these."""
        behind = (self._lineage.descendants(changed) & set(models)) - set(changed)
        texts = {**changed, **dict.fromkeys(behind, "a model that it reads failed")}
        for model, text in texts.items():
            status = "error" if model in changed else "skipped"
            self.results[model] = result = ModelResult(model, self._lineage.name(model), status, text)
            if result.failed:
                log.error("%s does not run: %s", result.name, result.message)
            if self._on_result:
                self._on_result(result, None)
        return behind | set(changed)

    def record(self) -> None:
        """Remembers what is known by now; raises what went wrong while dbt was looked at."""
        self.memory.record(list(self.results.values()))
        with explained(self.connection, "note what was built"):
            built = {model for model, one in self.results.items() if one.status in {"success", SHRUNK}}
            self._contracts.record(built | set(self._batches), self._batches)
            self._batches = {}
        if self.error:
            raise self.error

    def _result(self, data: Any) -> ModelResult:
        node = data.node_info
        model, name, status = node.unique_id, node.node_name, str(node.node_status)
        message = of_text(str(data.run_result.message))
        seconds = float(getattr(data.run_result, "execution_time", 0) or 0)
        if model in self._behind or status == "skipped":
            return ModelResult(model, name, "skipped", "a model that it reads failed", seconds)
        if status in FAILED:
            if guilty := self._guilty(model, message):
                log.error("%s fails on the documents %s.", name, ", ".join(guilty))
            return ModelResult(model, name, status, with_ids(message, guilty), seconds, at_fault=guilty)
        judged = self.counting and model in self._judged
        rows = self._counts.count(*self._lineage.relations[model]) if judged else None
        if complaint := self._counts.complaint(model, name, rows):
            return ModelResult(model, name, SHRUNK, complaint, seconds, rows)
        return ModelResult(model, name, status, message, seconds, rows)

    def _guilty(self, model: str, message: str) -> list[str]:
        before = self._before.get(model)
        known = before.at_fault if before else []
        if before and not known and before.message == message:
            return []  # a search has found nothing already
        raw, database = self._settings.raw_table, postgres_connection(self._settings).schema or ""
        # A connection of its own: others threads of dbt would wait behind the search.
        with closing(connect(self.connection, "cht_sync documents at fault")) as conn:
            conn.autocommit = True
            since = self._newest_row(model)
            ids = documents_at_fault(conn, self._compiled(model), raw, database, since=since, known=known)
        # An _id may hold what forges a line of a log.
        return [ascii(each)[1:-1][:100] for each in ids]

    def _newest_row(self, model: str) -> Any:
        if model not in self._lineage.relations:
            return None
        table = sql.Identifier(*self._lineage.relations[model])
        try:
            with self._conn.cursor() as cursor:
                return value_of(cursor, sql.SQL("select max(saved_timestamp) from {}").format(table))
        except psycopg2.Error:
            return None  # not built yet, or without that column
