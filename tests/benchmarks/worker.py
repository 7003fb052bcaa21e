"""One round: reads, writes, copies or proves a database, and prints seconds, CPU seconds and peak memory as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import psutil

from cht_sync.connections import postgres_connection
from cht_sync.couchdb import CouchDBHook
from cht_sync.feed import ChangesFeed
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.page import Page
from cht_sync.reconcile.opening import open_proof
from cht_sync.reconcile.verdicts import TOMBSTONES
from cht_sync.settings import Settings
from cht_sync.sources import source_name
from cht_sync.store import DocumentStore


def read(database: str) -> list[Page]:
    """Reads the whole feed.

    :param database: name of the database.
    """
    return list(ChangesFeed(CouchDBHook(), database, None, Settings().batch_size))


def throw_away(database: str) -> None:
    """Reads the whole feed and keeps nothing.

    :param database: name of the database.
    """
    for _ in ChangesFeed(CouchDBHook(), database, None, Settings().batch_size):
        pass


def write(pages: list[Page]) -> None:
    """Stores pages that are in memory.

    :param pages: of one database, in order.
    """
    with DocumentStore(postgres_connection(), Settings().raw_table) as store:
        store.prepare()
        store.claim("bench")
        since = None
        for page in pages:
            store.save("bench", page, since)
            since = page.checkpoint


def prove(database: str, tombstones: bool) -> None:
    """Proves a whole database, one part after the other.

    :param database: name of the database.
    :param tombstones: whether the feed is walked for them, as on a server that does not count them.
    """
    hook = CouchDBHook()
    source = source_name(hook, database)
    context = {"run_id": f"bench {time.time()}", "params": {}}
    with open_proof(Settings(), hook, database, source, context) as proof:
        parts = [part for part in proof.plan(None, full=True) if tombstones or part != TOMBSTONES]
        for part in parts:
            proof.do(part)
        summary = proof.verdicts.summary()
    if summary.doubtful or summary.differing_parts or summary.differences or not summary.compared:
        raise RuntimeError(f"the copy is not equal: {summary}")


def highest() -> int:
    """Bytes of memory this process had at most; ``ru_maxrss`` would tell those of whoever started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    """Does what the first argument says with the database that the second one names."""
    what, database = sys.argv[1:]
    pages = read(database) if what == "write" else []
    operator = CouchDBToPostgresOperator(task_id="copy", database=database, time_budget=3600)
    process = psutil.Process(os.getpid())
    before, began, cpu = process.memory_info().rss, time.monotonic(), time.process_time()
    if what == "read":
        throw_away(database)
    elif what == "write":
        write(pages)
    elif what in {"prove", "prove counted"}:
        prove(database, tombstones=what == "prove")
    else:
        operator.execute({})
    peak = highest() - before
    print(
        json.dumps(
            {
                "seconds": time.monotonic() - began,
                "cpu": time.process_time() - cpu,
                "peak_mb": max(peak, 0) / 1024**2,
            }
        )
    )


if __name__ == "__main__":
    main()
