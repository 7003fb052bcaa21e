"""How fast a database is copied, and at what cost, against reading alone and writing alone."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import requests

from include.demo.postgres import PostgresServer
from include.demo.pouchdb import PouchDBServer
from include.demo.servers import foreign
from tests.benchmarks.figures import Figure
from tests.benchmarks.replay import ReplayServer

DOCUMENTS = 50_000
LARGE, LARGE_BYTES = 60, 4_000_000
HUGE_BYTES = 60_000_000
ROUNDS = 3
WORKER = Path(__file__).with_name("worker.py")


def figures(folder: Path) -> list[Figure]:
    """Fills two databases, then reads, writes and copies each; every round in a process of its own.

    :param folder: for the servers.
    """
    with PostgresServer(folder / "postgres") as postgres, PouchDBServer(folder / "couchdb") as couchdb:
        fill(couchdb)
        environment = environment_of(folder, postgres, couchdb)
        measured = Measured(environment, postgres)
        found = measured.compare("pouchdb-server", urlsplit(couchdb.url).port or 0)
        with ReplayServer(couchdb, "bench") as replay:
            found += measured.compare("the same pages from memory", replay.port)
        environment["COUCHDB_PORT"] = str(urlsplit(couchdb.url).port)
        large = measured.run("copy", "large")
        found.append(Figure(f"peak memory, {LARGE} documents of 4 MB", large["peak_mb"], "MB", most=250))
        huge = measured.run("copy", "huge")
        found.append(Figure("peak memory, a document of 60 MB among others", huge["peak_mb"], "MB", most=400))
    return found


def environment_of(folder: Path, postgres: PostgresServer, couchdb: PouchDBServer) -> dict[str, str]:
    """What a worker has to know.

    :param folder: for Airflow's home.
    :param postgres: where it writes.
    :param couchdb: where it reads.
    """
    return {
        **foreign(os.environ),
        "PYTHONPATH": os.pathsep.join(["plugins", "."]),
        "AIRFLOW_HOME": str(folder / "airflow"),
        "POSTGRES_HOST": postgres.host,
        "POSTGRES_PORT": str(postgres.port),
        "POSTGRES_PASSWORD": postgres.password,
        "COUCHDB_USER": couchdb.user,
        "COUCHDB_PASSWORD": couchdb.password,
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(urlsplit(couchdb.url).port),
    }


class Measured:
    """Runs the worker.

    :param environment: of its process.
    :param postgres: where it writes.
    """

    def __init__(self, environment: dict[str, str], postgres: PostgresServer) -> None:
        self._environment, self._postgres, self._number = environment, postgres, 0

    def run(self, what: str, database: str, name: str = "") -> dict[str, float]:
        """One round in a fresh process.

        :param what: ``read``, ``write``, ``copy``, ``prove`` or ``load`` with a number of ranges.
        :param database: the CouchDB database.
        :param name: the Postgres database; a fresh one by default.
        """
        if not name:
            self._number += 1
            name = f"bench_{self._number}"
            self._postgres.create_database(name)
        done = subprocess.run(
            [sys.executable, str(WORKER), what, database],
            env={**self._environment, "POSTGRES_DB": name},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
        return result

    def through(self, port: int) -> Measured:
        """The same with CouchDB at another port, such as that of a proxy.

        :param port: where it listens.
        """
        other = Measured({**self._environment, "COUCHDB_PORT": str(port)}, self._postgres)
        # Names of databases must not meet.
        other._number = self._number + 1000 * port
        return other

    def compare(self, server: str, port: int) -> list[Figure]:
        """Copying against the slower of reading and writing; rounds take turns, so that load hits all alike.

        :param server: what the figures call it.
        :param port: where it listens.
        """
        self._environment["COUCHDB_PORT"] = str(port)
        rounds = [{what: self.run(what, "bench") for what in ("read", "write", "copy")} for _ in range(ROUNDS)]
        rate = {
            what: statistics.median(DOCUMENTS / each[what]["seconds"] for each in rounds)
            for what in ("read", "write", "copy")
        }
        ratio = statistics.median(
            max(each["read"]["seconds"], each["write"]["seconds"]) / each["copy"]["seconds"] for each in rounds
        )
        cpu = statistics.median(each["copy"]["cpu"] for each in rounds) * 100_000 / DOCUMENTS
        return [
            Figure(f"reading only, {server}", rate["read"], "documents/s"),
            Figure("writing only, from memory", rate["write"], "documents/s"),
            Figure(f"copying, {server}", rate["copy"], "documents/s"),
            Figure("copying against the slower of the two", ratio, least=0.75),
            Figure("CPU of our process for 100,000 documents", cpu, "s", most=3),
            Figure(
                "peak memory of the task's own work", max(each["copy"]["peak_mb"] for each in rounds), "MB", most=200
            ),
        ]


def fill(couchdb: PouchDBServer) -> None:
    """Writes documents of about 1 KB to one database, of 4 MB to another, and one of 60 MB among small ones.

    :param couchdb: the server.
    """
    session = requests.Session()
    session.auth = couchdb.auth
    for database in ("bench", "large", "huge"):
        session.put(f"{couchdb.url}/{database}").raise_for_status()
    for start in range(0, DOCUMENTS, 1000):
        documents = [document(number) for number in range(start, start + 1000)]
        session.post(f"{couchdb.url}/bench/_bulk_docs", json={"docs": documents}).raise_for_status()
    for number in range(LARGE):
        body = {"_id": f"large-{number:04}", "type": "data_record", "text": f"{number:05}" * (LARGE_BYTES // 5)}
        session.post(f"{couchdb.url}/large/_bulk_docs", json={"docs": [body]}).raise_for_status()
    for start in range(0, 3000, 1000):
        documents = [document(number) for number in range(start, start + 1000)]
        documents += [{"_id": f"huge-{start}", "text": "x" * HUGE_BYTES}] if start == 1000 else []
        session.post(f"{couchdb.url}/huge/_bulk_docs", json={"docs": documents}).raise_for_status()


def document(number: int) -> dict[str, object]:
    """A report of about 1 KB.

    :param number: makes it different from the others.
    """
    fields = {f"question_{each:02}": f"answer {number * 31 + each:012} given in the field" for each in range(12)}
    return {
        "_id": f"{number:08}-0000-4000-8000-{number:012}",
        "type": "data_record",
        "form": f"form_{number % 7}",
        "reported_date": 1_700_000_000_000 + number,
        "fields": {**fields, "count": number, "ratio": number / 7},
        "contact": {"_id": f"c{number % 500}", "parent": {"_id": f"p{number % 50}"}},
    }
