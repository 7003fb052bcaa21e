"""Opens the proof of one source, as settings and params want it; does all of it at the end of a first load."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cht_sync.errors import RequestRefusedError
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
log = logging.getLogger(__name__)


@contextmanager
def open_proof(settings: Settings, hook: CouchDBHook, database: str, source: str, context: Any) -> Iterator[Proof]:
    """Yields the proof of one source; its connection is given back behind it.

    :param context: Airflow's, or what stands for it: ``params`` and ``run_id``, and for the ledger ``dag_run``.
    """
    connection, raw, run = postgres_connection(settings), settings.raw_table, Run.of(context)

    def open_store() -> DocumentStore:
        return DocumentStore(connection, raw, f"{REPAIR} repairs {source}", run=run)

    options = _options(settings, context.get("params") or {})
    with StoredSide(connection, raw, source) as stored:
        yield Proof(hook, database, source, stored, context["run_id"], open_store=open_store, options=options)


def _options(settings: Settings, params: Any) -> Options:
    return Options(
        dry_run=bool(params.get("dry_run")),
        content=bool(params.get("compare_content")),
        reprocess=bool(params.get("reprocess")),
        by_reported_date=bool(params.get("by_reported_date")),
        range_size=settings.reconcile_range,
        rate=settings.reconcile_rate,
        patience=settings.time_budget + BEYOND_BUDGET_S,
        most_bytes=settings.max_page_bytes,
    )


def prove_load(settings: Settings, hook: CouchDBHook, database: str, source: str, *, began: str, budget: float) -> bool:
    """Compares a source that was just loaded, part by part, and repairs what differs; the next run does the rest.

    :param began: when the load began: names the run in ``couchdb_reconciliation``.
    :param budget: seconds after which no further part is begun.
    """
    begun = time.monotonic()
    context = {"run_id": f"first_load {began}", "params": {}}
    try:
        with open_proof(settings, hook, database, source, context) as proof:
            parts = proof.results.unfinished()
            for part in proof.plan(None, full=True) if parts is None else parts:
                if time.monotonic() - begun > budget:
                    log.info("%s: the time budget (%s s) is used; the next run goes on comparing.", source, budget)
                    return False
                proof.run_part(part)
            summary = proof.results.summary()
    except RequestRefusedError as error:
        # The copy itself can do without.
        log.warning(
            "%s: the verification of the first load waits, since CouchDB or a proxy refuses its requests: let GET and"
            " POST to _all_docs and _bulk_get through. %s",
            source, error,
        )  # fmt: skip
        return False
    said = "equal" if not summary.bad else "not equal: " + " ".join(summary.reasons)
    log.log(
        logging.WARNING if summary.bad else logging.INFO,
        "%s: the first load is verified, %s documents compared, %s repaired; %s.",
        source, f"{summary.compared:,}", f"{summary.repaired:,}", said,
    )  # fmt: skip
    return True
