"""``make verify``: compares everything and changes nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.sources import Source, configured_sources
from cht_sync.reconcile.postgres_side import StoredSide
from cht_sync.reconcile.report import Line, line_of, vanished
from cht_sync.reconcile.run import open_proof
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.document_store import DocumentStore


def verify(settings: Settings, content: bool) -> list[Line]:
    """Compares all documents of all sources, and repairs nothing."""
    settings.check()
    sources = configured_sources(settings)
    with DocumentStore(postgres_connection(settings), settings.raw_table, "cht_reconcile verify") as store:
        store.prepare()
    run = f"verify {datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
    context = {"run_id": run, "params": {"dry_run": True, "compare_content": content}}
    configured = [source["source"] for source in sources]
    lines = [_line(settings, source, context, configured) for source in sources]
    with StoredSide(postgres_connection(settings), settings.raw_table, "all") as stored:
        return lines + vanished(stored, configured)


def _line(settings: Settings, source: Source, context: dict[str, Any], configured: list[str]) -> Line:
    hook = CouchDBHook(source["couchdb_conn_id"])
    with open_proof(settings, hook, source["database"], source["source"], context) as proof:
        for part in proof.plan(None, full=True):
            proof.run_part(part)
        line = line_of(
            hook, source["database"], source["source"], proof.stored, proof.results.summary(), configured=configured
        )
    # For whoever asks at this moment, what is on its way is not there yet.
    return replace(line, equal=False, verdict="not there yet") if line.equal and line.on_the_way else line
