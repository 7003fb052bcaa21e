"""What a full proof of equal documents takes, against reading the same feed with documents."""

from __future__ import annotations

import statistics
from pathlib import Path

import requests

from include.demo.postgres import PostgresServer
from include.demo.pouchdb import PouchDBServer
from tests.benchmarks.copying import Measured, document, environment_of
from tests.benchmarks.figures import Figure

DOCUMENTS = 100_000
ROUNDS = 3
DATABASE = "proof"
# CouchDB counts deleted documents, and where there are none the feed need not be walked; pouchdb-server does not count.
WHAT = ("read", "prove", "prove counted")


def figures(folder: Path) -> list[Figure]:
    """Copies a database, then reads its feed and proves it in turn; every round in a process of its own.

    :param folder: for the servers.
    """
    with PostgresServer(folder / "proof-postgres") as postgres, PouchDBServer(folder / "proof-couchdb") as couchdb:
        _fill(couchdb)
        measured = Measured(environment_of(folder, postgres, couchdb), postgres)
        postgres.create_database(DATABASE)
        measured.run("copy", DATABASE, DATABASE)
        rounds = [{what: measured.run(what, DATABASE, DATABASE) for what in WHAT} for _ in range(ROUNDS)]
    seconds = {what: statistics.median(each[what]["seconds"] for each in rounds) for what in WHAT}
    ratio = statistics.median(each["prove counted"]["seconds"] / each["read"]["seconds"] for each in rounds)
    return [
        Figure(f"reading the feed of {DOCUMENTS:,} documents", seconds["read"], "s"),
        Figure("full proof of the same, equal, walking the feed for tombstones", seconds["prove"], "s"),
        Figure("full proof where the server counts tombstones and has none", seconds["prove counted"], "s"),
        Figure("the latter against reading the feed", ratio, most=0.35),
        Figure("CPU of a full proof", statistics.median(each["prove"]["cpu"] for each in rounds), "s"),
        Figure("peak memory of a full proof", max(each["prove"]["peak_mb"] for each in rounds), "MB", most=200),
    ]


def _fill(couchdb: PouchDBServer) -> None:
    session = requests.Session()
    session.auth = couchdb.auth
    session.put(f"{couchdb.url}/{DATABASE}").raise_for_status()
    for start in range(0, DOCUMENTS, 1000):
        documents = [document(number) for number in range(start, start + 1000)]
        session.post(f"{couchdb.url}/{DATABASE}/_bulk_docs", json={"docs": documents}).raise_for_status()
