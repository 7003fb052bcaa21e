"""What a first load by ranges gains: against the feed, and by the number of ranges where each connection is slow."""

from __future__ import annotations

import base64
import random
import statistics
from pathlib import Path

import requests

from include.demo.postgres import PostgresServer
from include.demo.pouchdb import PouchDBServer
from tests.benchmarks.copying import Measured, document, environment_of
from tests.benchmarks.figures import Figure
from tests.faults.proxy import Fault, FaultProxy

DOCUMENTS, SMALL, LARGE, HUGE = 50_000, 24_000, 12_000, 48
ROUNDS = 3
RANGES = (1, 2, 4, 8)
LIMITS = {
    "each connection held to 2 MB/s": ("large", Fault(bandwidth=2_000_000, plain=True), 100),
    # Pages of 50 documents, so that waiting and not this machine is the limit.
    "200 ms before each answer": ("small", Fault(latency=0.2, plain=True), 50),
}


def figures(folder: Path) -> list[Figure]:
    """Loads the same databases by the feed and by ranges; every round in a process of its own.

    :param folder: for the servers.
    """
    # What is measured is the source: a disk that takes long for each commit would be the limit of small pages.
    quick = {"synchronous_commit": "off"}
    with (
        PostgresServer(folder / "load-postgres", settings=quick) as postgres,
        PouchDBServer(folder / "load-couchdb") as couchdb,
    ):
        _fill(couchdb)
        measured = Measured(environment_of(folder, postgres, couchdb), postgres)
        rounds = [{what: measured.run(what, "quick") for what in ("copy", "load 4 1000")} for _ in range(ROUNDS)]
        ratio = statistics.median(each["copy"]["seconds"] / each["load 4 1000"]["seconds"] for each in rounds)
        found = [
            Figure(f"first load of {DOCUMENTS:,} documents by 4 ranges against the feed, no limit", ratio, least=1.0),
            Figure("peak memory of that", max(each["load 4 1000"]["peak_mb"] for each in rounds), "MB", most=200),
        ]
        peak = measured.run("load 8 1000", "huge")["peak_mb"]
        found.append(Figure(f"peak memory of 8 ranges, {HUGE} documents of 4 MB", peak, "MB", most=200))
        for name, (database, fault, batch) in LIMITS.items():
            with FaultProxy(couchdb.host, couchdb.port) as proxy:
                proxy.inject(fault)
                found += _scaling(measured.through(proxy.port), name, database, batch)
    return found


def _scaling(measured: Measured, name: str, database: str, batch: int) -> list[Figure]:
    seconds = {number: measured.run(f"load {number} {batch}", database)["seconds"] for number in RANGES}
    first = Figure(f"first load by 1 range, {name}", seconds[1], "s")
    return [
        first,
        *(
            Figure(f"speed-up by {number} ranges, {name}", seconds[1] / seconds[number], least=0.85 * number)
            for number in RANGES[1:]
        ),
    ]


def _fill(couchdb: PouchDBServer) -> None:
    """Documents of 1 KB, of 12 KB, and of 4 MB; as nothing is compressed, few enough for this machine to hand out."""
    session, chance = requests.Session(), random.Random(1)
    session.auth = couchdb.auth
    filled = (
        ("quick", DOCUMENTS, 0, 1000),
        ("small", SMALL, 0, 1000),
        ("large", LARGE, 8_000, 1000),
        ("huge", HUGE, 3_000_000, 4),
    )
    for database, count, padding, at_a_time in filled:
        session.put(f"{couchdb.url}/{database}").raise_for_status()
        for start in range(0, count, at_a_time):
            documents = [document(number) for number in range(start, start + at_a_time)]
            for each in documents:
                each["padding"] = base64.b64encode(chance.randbytes(padding)).decode()
            session.post(f"{couchdb.url}/{database}/_bulk_docs", json={"docs": documents}).raise_for_status()
