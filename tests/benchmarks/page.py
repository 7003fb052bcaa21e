"""How quickly the status page's JSON is there where ten million documents are."""

from __future__ import annotations

import logging
import os
import statistics
import time
from pathlib import Path
from unittest.mock import patch

from include.demo.postgres import PostgresServer
from tests.benchmarks.figures import Figure

ROWS, WINDOWS, QUARANTINED = 10_000_000, 1_700_000, 50_000
ROUNDS = 20
DATABASE = "page"
_ROWS = """
insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc)
select (now() at time zone 'utc') - interval '400 days' + n * interval '3 s', md5(n::text), n %% 50 = 0,
    (%s::text[])[1 + n %% 3], '{"type": "data_record"}'
from generate_series(1, %s) n
"""
_WINDOWS = """
insert into v1.couchdb_window (id, source, started_at, ended_at, seq_from, seq_to, pages, documents, tombstones,
    changed, quarantined, bytes, seconds)
select gen_random_uuid(), (%s::text[])[1 + n %% 3], at, at + interval '1 s', 's', 't', 1, 7, 0, 7, 0, 9000, 0.4
from generate_series(1, %s) n, lateral (select now() - n * interval '20 s' as at) moment
"""
_QUARANTINE = """
insert into v1.couchdb_quarantine (source, key, _id, seq, body, body_bytes, reason, sqlstate, first_seen, last_seen,
    attempts)
select (%s::text[])[1 + n %% 3], decode(md5(n::text), 'hex'), 'odd-' || n, '1', '{}', 2,
    'Postgres: invalid input syntax for type json', '22P02', now() - n * interval '1 s', now(), 1
from generate_series(1, %s) n
"""


def figures(folder: Path) -> list[Figure]:
    """Fills a database and asks for the page's JSON again and again, as the page does.

    :param folder: for the server.
    """
    with PostgresServer(folder / "page-postgres", settings={"max_wal_size": "4GB"}) as postgres:
        postgres.create_database(DATABASE)
        known = {
            "AIRFLOW_HOME": str(folder / "page-airflow"),
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": postgres.user,
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_DB": DATABASE,
        }
        with patch.dict(os.environ, known):
            seconds = _measure(postgres)
    return [
        Figure(f"the status page's JSON, {ROWS:,} documents, {WINDOWS:,} windows, half of {ROUNDS}", seconds[0], "s"),
        Figure("the slowest of them, but for the first", seconds[1], "s", most=0.2),
    ]


def _measure(postgres: PostgresServer) -> tuple[float, float]:
    # Airflow reads its environment when it is imported.
    from tests.integration.conftest import Database
    from tests.integration.monitoring.web.conftest import Served
    from tests.integration.monitoring.web.scenes import SOURCES, Scenes

    database = Database(postgres.dsn(DATABASE), DATABASE)
    Scenes(database).healthy()
    for text, number in ((_ROWS, ROWS), (_WINDOWS, WINDOWS), (_QUARANTINE, QUARANTINED)):
        database.rows(text, list(SOURCES), number)
    for table in ("couchdb", "couchdb_window", "couchdb_quarantine"):
        database.rows(f"analyze v1.{table}")
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    served = Served()
    served.set_runs(states=dict.fromkeys(SOURCES, "success"))
    taken = [_ask(served) for _ in range(ROUNDS + 1)][1:]
    return statistics.median(taken), max(taken)


def _ask(served) -> float:
    begin = time.perf_counter()
    answer = served.get("api/status")
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - begin
