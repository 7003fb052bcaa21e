"""Opens the proof of one source, as the settings and a run's params want it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cht_sync.reconcile.postgres_side import StoredSide
from cht_sync.reconcile.proof import Options, Proof
from cht_sync.settings.connections import postgres_connection
from cht_sync.store.claims import REPAIR
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.run_ledger import Run

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.settings.settings import Settings

# A sync holds its source for its time budget at most, and a moment.
BEYOND_BUDGET_S = 60


@contextmanager
def open_proof(settings: Settings, hook: CouchDBHook, database: str, source: str, context: Any) -> Iterator[Proof]:
    """Yields the proof of one source; its connection is given back behind it.

    :param settings: the environment.
    :param hook: of the server.
    :param database: name of the database.
    :param source: name of the source.
    :param context: Airflow's, or what stands for it: ``params`` and ``run_id``, and for the ledger ``dag_run``.
    """
    connection, raw, run = postgres_connection(settings), settings.raw_table, Run.of(context)

    def open_store() -> DocumentStore:
        return DocumentStore(connection, raw, f"{REPAIR} repairs {source}", run=run)

    with StoredSide(connection, raw, source) as stored:
        yield Proof(
            hook,
            database,
            source,
            stored,
            context["run_id"],
            open_store=open_store,
            options=_options(settings, context.get("params") or {}),
        )


def _options(settings: Settings, params: Any) -> Options:
    def flag(name: str) -> bool:
        return bool(params.get(name, False))

    return Options(
        dry_run=flag("dry_run"),
        content=flag("compare_content"),
        reprocess=flag("reprocess"),
        by_reported_date=flag("by_reported_date"),
        range_size=settings.reconcile_range,
        rate=settings.reconcile_rate,
        patience=settings.time_budget + BEYOND_BUDGET_S,
        most_bytes=settings.max_page_bytes,
    )
