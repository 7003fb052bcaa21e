"""The operator that copies one database."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias

from cht_sync.assets import database_dataset, source_asset, table_dataset
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.sources import source_name
from cht_sync.operators.base import EndableOperator
from cht_sync.reconcile.run import prove_load
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import COUCHDB_CONN_ID, Settings
from cht_sync.store.first_load_store import FirstLoadStore
from cht_sync.store.run_ledger import Run
from cht_sync.sync.progress import Progress
from cht_sync.sync.source_sync import SourceCopy

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage
    from airflow.sdk import Context

DOCUMENTS = AssetAlias("cht_documents")


class CouchDBToPostgresOperator(EndableOperator):
    """Copies the changes of one CouchDB database to Postgres, from its checkpoint until the feed is drained.

    A page and its checkpoint are committed together, so a task that is killed loses nothing and repeats
    nothing; run again, it goes on where it was. A document that Postgres cannot hold goes to quarantine.

    Of the run's params it knows ``retry_quarantine`` (true: try every document in quarantine again),
    ``confirm_gone`` (names of sources whose database was dropped or emptied for good) and ``accept_older`` (names of
    sources whose rows may go back to older revisions at once).

    :param database: name of the CouchDB database.
    :param couchdb_conn_id: Airflow connection of the server, default ``cht_couchdb``.
    :param source: name to store as the rows' ``source``; default ``<host>/<database>``.
    :param batch_size: changes in a page at most; default ``BATCH_SIZE``.
    :param time_budget: seconds after which the task ends with the rest pending, so that models can follow;
        default ``CHT_SYNC_TIME_BUDGET``.
    :raises SettingsError: if settings, databases, roles or tables are wrong; nothing has been written then.
    :raises CouchDBError: if CouchDB does not answer for a minute.
    :raises StoreError: if Postgres fails for a minute, or another writer has the source.
    """

    template_fields = ("couchdb_conn_id", "database", "source")
    ui_color = "#d5e8f0"
    kept = "pages stored until then count, the next run goes on behind them"

    def __init__(
        self,
        *,
        database: str,
        couchdb_conn_id: str = COUCHDB_CONN_ID,
        source: str | None = None,
        batch_size: int | None = None,
        time_budget: float | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("outlets", [DOCUMENTS])
        super().__init__(**kwargs)
        self.database = database
        self.couchdb_conn_id = couchdb_conn_id
        self.source = source
        self.batch_size = batch_size
        self.time_budget = time_budget
        self._read: tuple[str, str] | None = None
        self._written: tuple[str, str] | None = None
        self._progress: Progress | None = None

    @property
    def subject(self) -> str:
        """The source that it works on."""
        return self.source or self.database

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage:  # noqa: ARG002 - the provider gives it
        """Tells Airflow's OpenLineage provider, the only caller, what was read and how many rows were committed.

        Source: https://airflow.apache.org/docs/apache-airflow-providers-openlineage/stable/guides/developer.html
        """
        from airflow.providers.common.compat.openlineage.facet import (
            InputDataset,
            OutputDataset,
            OutputStatisticsOutputDatasetFacet,
        )
        from airflow.providers.openlineage.extractors import OperatorLineage

        # Also of a task that failed: what it committed until then is there.
        rows = OutputStatisticsOutputDatasetFacet(rowCount=self._progress.rows if self._progress else 0)
        return OperatorLineage(
            inputs=[InputDataset(*self._read)] if self._read else [],
            outputs=[OutputDataset(*self._written, outputFacets={"outputStatistics": rows})] if self._written else [],
        )

    def work(self, context: Context) -> dict[str, Any]:
        """Copies what changed; returns the counts, and adds an asset event to the context where rows changed."""
        settings = Settings()
        settings.check()
        params = context.get("params") or {}
        hook = CouchDBHook(self.couchdb_conn_id)
        source = self.source or source_name(hook, self.database)
        self._read = database_dataset(hook, self.database)
        budget = self.time_budget or settings.time_budget
        self._progress = progress = Progress(source)
        with self._open(settings, source, context) as store:
            batch_size = self.batch_size or settings.batch_size
            copy = SourceCopy(
                hook, self.database, store, progress,
                settings=settings, params=params, batch_size=batch_size, budget=budget,
            )  # fmt: skip
            began = copy.run()
        # The store is closed: a repair claims the source for itself.
        if began and prove_load(settings, hook, self.database, source, began=began, budget=budget):
            with self._open(settings, source, context) as store:
                copy.load_is_proven(store)
        if progress.rows and "outlet_events" in context:
            event = context["outlet_events"][DOCUMENTS]
            event.add(source_asset(progress.source), extra={"source": progress.source, "rows": progress.rows})
        return asdict(progress)

    def _open(self, settings: Settings, source: str, context: Context) -> FirstLoadStore:
        connection, run = postgres_connection(settings), Run.of(context)
        self._written = table_dataset(connection, settings.raw_table)
        return FirstLoadStore(connection, settings.raw_table, f"cht_sync {source}", run=run)
