"""What both state machines need of Postgres: one database, emptied for each example, and the operator."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Sequence
from contextlib import closing
from typing import Any

import psycopg2

from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from tests.oracle.oracle import Postgres, States, compare_states
from tests.servers import mine

DATABASE, ROLE = mine("cht_state_machine"), mine("state_machine")
TINY_BUDGET = 1e-6
_EMPTY = """
do $$
declare relation regclass;
begin
    for relation in
        select format('%I.%I', schemaname, tablename) from pg_tables
        where schemaname = 'v1' and tablename not in ('couchdb_migration')
    loop
        execute format('delete from %s', relation);
    end loop;
end
$$
"""

_REVISIONS = """
select _id, doc->>'_rev', _deleted from v1.couchdb where source = %(source)s
union all
select _id, doc->>'_rev', _deleted from v1.couchdb_collision where source = %(source)s
"""


class Warehouse:
    """A database of its own on a Postgres server; the environment says where it is.

    :param server: a running server.
    :param monkeypatch: sets ``POSTGRES_*``.
    """

    def __init__(self, server: Any, monkeypatch: Any) -> None:
        server.create_database(DATABASE)
        password = secrets.token_hex(8)
        with closing(psycopg2.connect(server.dsn(DATABASE))) as conn, conn, conn.cursor() as cursor:
            cursor.execute(f"drop schema if exists v1 cascade; drop role if exists {ROLE}")
            cursor.execute(f"create role {ROLE} superuser login password %s", (password,))
        self._connection = psycopg2.connect(
            host=server.host, port=server.port, user=ROLE, password=password, dbname=DATABASE
        )
        self._connection.autocommit = True
        for name, value in {
            "POSTGRES_HOST": server.host,
            "POSTGRES_PORT": str(server.port),
            "POSTGRES_USER": ROLE,
            "POSTGRES_PASSWORD": password,
            "POSTGRES_DB": DATABASE,
        }.items():
            monkeypatch.setenv(name, value)

    def empty(self) -> None:
        """Takes out every row of every table of the sync, checkpoints included."""
        with self._connection.cursor() as cursor:
            cursor.execute(_EMPTY)

    def copy(self, database: str, **arguments: Any) -> dict[str, Any]:
        """Runs the operator for one database and returns its summary."""
        self._wait_for_the_last_run()
        return CouchDBToPostgresOperator(task_id="sync", database=database, **arguments).execute({})

    def drain(self, database: str, **arguments: Any) -> None:
        """Runs the operator until nothing is left."""
        for _ in range(100):
            if self.copy(database, **arguments)["drained"]:
                return
        raise AssertionError(f"{database} is not drained after 100 runs")

    def run(self, query: str, *values: Any) -> None:
        """Changes something by hand."""
        with self._connection.cursor() as cursor:
            cursor.execute(query, values)

    @property
    def is_prepared(self) -> bool:
        """Whether a run has made the tables."""
        with self._connection.cursor() as cursor:
            cursor.execute("select to_regclass('v1.couchdb_progress') is not null")
            return bool(cursor.fetchone()[0])

    def revisions(self, source: str) -> dict[str, tuple[str, bool]]:
        """Revision and tombstone flag of each document of a source, wherever it is stored."""
        with self._connection.cursor() as cursor:
            cursor.execute(_REVISIONS, {"source": source})
            return {name: (rev, deleted) for name, rev, deleted in cursor}

    def check(self, states: States, source: str, order: Sequence[str] = ()) -> None:
        """Fails with every difference that the oracle finds."""
        keep = os.environ.get("CHT_TOMBSTONE_BODIES") == "keep"
        stored = Postgres(self._connection, source, order=order)
        verdict = compare_states(states, stored, tombstone_bodies=keep)
        assert not verdict.differences, str(verdict)

    def close(self) -> None:
        """Gives back the connection."""
        self._connection.close()

    def _wait_for_the_last_run(self) -> None:
        """A closed session keeps its lock until its backend has ended; a run that met it would wait much longer."""
        with self._connection.cursor() as cursor:
            for _ in range(2000):
                cursor.execute(
                    "select exists (select from pg_locks l join pg_database d on d.oid = l.database"
                    " where l.locktype = 'advisory' and d.datname = current_database())"
                )
                if not cursor.fetchone()[0]:
                    return
                time.sleep(0.001)
