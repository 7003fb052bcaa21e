"""One round: reads, writes, copies or proves a database, and prints seconds, CPU seconds and peak memory as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import msgspec
import psutil

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.changes_feed import ChangesFeed
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.sources import source_name
from cht_sync.couchdb.structs import DatabaseInfo, Page
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.reconcile.results import TOMBSTONES
from cht_sync.reconcile.run import open_proof
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.first_load_store import FirstLoadStore
from cht_sync.sync import first_load
from cht_sync.sync.first_load import FirstLoad
from cht_sync.sync.progress import Progress


class CountingHook(CouchDBHook):
    """Of a server that counts tombstones, as CouchDB does and pouchdb-server does not; none were written."""

    def database(self, name: str) -> DatabaseInfo:
        """See CouchDBHook.

        :param name: name of the database.
        """
        return msgspec.structs.replace(super().database(name), doc_del_count=0)


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
            proof.run_part(part)
        summary = proof.results.summary()
    if summary.doubtful or summary.differing_parts or summary.differences or not summary.compared:
        raise RuntimeError(f"the copy is not equal: {summary}")


def load(database: str, ranges: int, batch_size: int) -> None:
    """Loads a database by ranges of ids, one for each connection, as far as the feed could take over.

    :param database: name of the database.
    :param ranges: how many.
    :param batch_size: documents in a page at most.
    """
    first_load.PARTS_A_CONNECTION = 1
    hooks = [CountingHook() for _ in range(ranges)]
    with FirstLoadStore(postgres_connection(), Settings().raw_table) as store:
        store.prepare()
        store.claim("bench")
        load = FirstLoad(hooks, database, store, Progress("bench"), batch_size=batch_size, most_bytes=64 * MEGABYTE)
        if not load.run(hooks[0].database(database), None, float("inf")):
            raise RuntimeError("the load did not end")


def highest() -> int:
    """Bytes of memory this process had at most; ``ru_maxrss`` would tell those of whoever started it, too."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def main() -> None:
    """Does what the first argument says with the database that the second one names."""
    what, database = sys.argv[1:]
    pages = read(database) if what == "write" else []
    os.environ["CHT_FIRST_LOAD_THRESHOLD"] = "0"
    operator = CouchDBToPostgresOperator(task_id="copy", database=database, time_budget=3600)
    process = psutil.Process(os.getpid())
    before, began, cpu = process.memory_info().rss, time.monotonic(), time.process_time()
    if what == "read":
        throw_away(database)
    elif what == "write":
        write(pages)
    elif what.startswith("load"):
        load(database, *map(int, what.split()[1:]))
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
