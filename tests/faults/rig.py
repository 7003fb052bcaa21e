"""What the fault tests share: a run of the operator between proxies, and the comparison afterwards."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import requests

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from tests.faults.proxy import FaultProxy
from tests.servers import EVERYWHERE, mine

_numbers = itertools.count(1)
_random = random.Random(1)


def text(size: int) -> str:
    """Text that compression, which the server offers, does not shrink to nothing."""
    return f"ä{_random.randbytes(size // 2).hex()}"


class Couch:
    """One database of the CouchDB-protocol server, asked directly.

    :param server: the server.
    :param shards: how many parts a CouchDB makes of it; None for as many as usual. The feed is in the order of writing
        in one alone.
    """

    def __init__(self, server: Any, shards: int | None = None) -> None:
        self.server = server
        self.name = mine(f"faults-{next(_numbers)}")
        self.source = f"127.0.0.1/{self.name}"
        self.url = f"{server.url}/{self.name}"
        self.session = requests.Session()
        self.session.auth = server.auth
        self.session.put(self.url, params={"q": shards} if shards else {}).raise_for_status()

    def write(self, *documents: dict[str, Any]) -> dict[str, str]:
        """Writes documents; returns the revision of each."""
        answer = self.session.post(f"{self.url}/_bulk_docs", json={"docs": documents}, params=EVERYWHERE)
        answer.raise_for_status()
        return {each["id"]: each["rev"] for each in answer.json()}

    def changes(self, since: str = "0") -> dict[str, Any]:
        """The feed.

        :param since: where it begins.
        """
        return self.session.get(f"{self.url}/_changes", params={"include_docs": "true", "since": since}).json()

    def ids_after(self, checkpoint: str) -> set[str]:
        """What the feed has to give yet: a seq of CouchDB tells nothing by itself, and one place has many."""
        return {row["id"] for row in self.changes(checkpoint)["results"]}

    def ends_at(self, checkpoint: str | None, last: object) -> bool:
        """Whether a checkpoint is where the feed ends.

        :param last: ``last_seq`` of the feed.
        """
        # Where they are numbers one place has one, and a seq that cannot be used has nothing behind it.
        opaque = checkpoint is not None and isinstance(last, str)
        return checkpoint == str(last) or (opaque and not self.ids_after(str(checkpoint)))

    def fill(self, count: int, size: int = 200) -> None:
        """Writes documents, edits one in five and deletes one in ten."""
        revisions = self.write(*({"_id": f"d{n:04}", "n": n, "text": text(size)} for n in range(count)))
        names = sorted(revisions)
        self.write(*({"_id": name, "_rev": revisions[name], "edited": True} for name in names[::5]))
        self.write(*({"_id": name, "_rev": revisions[name], "_deleted": True} for name in names[1::10]))


@dataclass
class Rig:
    """A CouchDB and a Postgres database with a proxy before each, which the settings lead to."""

    couch: Couch
    dsn: str
    http: FaultProxy
    sql: FaultProxy
    batch_size: int = 100
    setenv: Callable[[str, str], None] = field(default=os.environ.__setitem__)

    def extra(self, **extra: object) -> None:
        """Sets the extra of CouchDB's connection."""
        connection = {
            "conn_type": "http",
            "host": "127.0.0.1",
            "port": self.http.port,
            "login": self.couch.server.user,
            "password": self.couch.server.password,
            "extra": extra,
        }
        self.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps(connection))

    def operator(self, **arguments: Any) -> CouchDBToPostgresOperator:
        """The task."""
        arguments = {"batch_size": self.batch_size, **arguments}
        return CouchDBToPostgresOperator(task_id="sync", database=self.couch.name, **arguments)

    def run(self, **arguments: Any) -> dict[str, Any]:
        """A run of the task, in this process."""
        return self.operator(**arguments).execute({})

    # --- Postgres, asked directly --------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a statement gives, past the proxy."""
        with closing(psycopg2.connect(self.dsn)) as conn, conn, conn.cursor() as cursor:
            cursor.execute(query, values or None)
            return cursor.fetchall() if cursor.description else []

    def checkpoint(self) -> str | None:
        """What Postgres holds as the checkpoint of the source."""
        if self.rows("select to_regclass('v1.couchdb_progress')")[0][0] is None:
            return None
        rows = self.rows("select seq from v1.couchdb_progress where source = %s", self.couch.source)
        return rows[0][0] if rows else None

    def stored(self) -> list[tuple[str, bool, str, dict[str, Any]]]:
        """Every row: id, flag, source, document."""
        if self.rows("select to_regclass('v1.couchdb')")[0][0] is None:
            return []
        return self.rows("select _id, _deleted, source, doc from v1.couchdb order by _id")  # type: ignore[return-value]

    def sessions(self, name: str = "cht_sync%") -> int:
        """How many sessions of the project Postgres knows of."""
        query = "select count(*) from pg_stat_activity where application_name like %s and datname = current_database()"
        return self.rows(query, name)[0][0]

    def differences(self) -> list[str]:
        """What Postgres lacks, has too much of or has otherwise than CouchDB; the checkpoint too."""
        feed = self.couch.changes()
        expected = {row["id"]: (row.get("deleted", False), self.couch.source, row["doc"]) for row in feed["results"]}
        rows = self.stored()
        found = {name: (deleted, source, doc) for name, deleted, source, doc in rows}
        said = [f"{len(rows) - len(found)} rows are there twice"] if len(rows) != len(found) else []
        said += [f"{name} is missing" for name in expected.keys() - found.keys()]
        said += [f"{name} is too much" for name in found.keys() - expected.keys()]
        said += [
            f"{name} is {found[name]}, not {expected[name]}"
            for name in expected.keys() & found.keys()
            if found[name] != expected[name]
        ]
        checkpoint, last = self.checkpoint(), feed["last_seq"]
        if not self.couch.ends_at(checkpoint, last):
            said.append(f"the checkpoint is {checkpoint}, not {last}")
        return said

    def state(self) -> tuple[object, ...]:
        """Rows and checkpoint, to see whether anything moved."""
        return self.checkpoint(), self.stored()


def shorten_pauses(monkeypatch: Any, tolerance: float) -> None:
    """Tries again soon, and gives up after ``tolerance`` seconds."""
    monkeypatch.setattr("cht_sync.common.retry.LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(CouchDBHook.__init__, "__defaults__", (CouchDBHook.default_conn_name, tolerance))


def is_one_sentence(text: str) -> bool:
    """Whether a person can read it in a log: one line, no traceback, no password; ends as a sentence does."""
    return "\n" not in text and "Traceback" not in text and text.endswith(".") and len(text) < 600
