"""Documents that are nested deeper than a strict reader of JSON goes: on no path do they stop or delay the others."""

from __future__ import annotations

import time

import psycopg2
import pytest

from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.operators.test_operator import copy
from tests.integration.reconcile.proving import prove_all
from tests.oracle.oracle import Postgres, compare_states

pytestmark = pytest.mark.integration
SOURCE = "127.0.0.1/medic"
# Far below the minute for which what may pass is tried again.
SOON_S = 30


def nested(id, depth, rev="1-a", more=""):
    return f'{{"_id":"{id}","_rev":"{rev}"{more},"d":{"[" * depth}{"]" * depth}}}'.encode()


@pytest.fixture
def medic(monkeypatch, database):
    cluster = Cluster()
    for name, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(cluster.port),
        "CHT_RECONCILE_RANGE": "10",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.02)
    monkeypatch.setattr("cht_sync.reconcile.repair.PAUSE_S", 0.0)
    medic = cluster.databases["medic"] = ClusterDatabase("medic", 1)
    for number in range(30):
        medic.put(f"d{number:02}", "1-a", f'{{"_id":"d{number:02}","_rev":"1-a","n":{number}}}'.encode())
    medic.put("d05-deep", "1-a", nested("d05-deep", 1000))
    medic.put("d15-deeper", "1-a", nested("d15-deeper", 20_000))
    medic.put("d25-gone", "2-b", nested("d25-gone", 3000, "2-b", ',"_deleted":true'), deleted=True)
    medic.name, medic.source = "medic", SOURCE
    yield medic
    cluster.close()


@pytest.fixture
def at_once(caplog):
    """Nothing may be waited for that would fail the same way again."""
    begun = time.monotonic()
    yield
    assert time.monotonic() - begun < SOON_S
    assert "Trying again" not in caplog.text


def differences(medic, database):
    with psycopg2.connect(database.dsn) as connection:
        return compare_states(medic, Postgres(connection, SOURCE)).differences


@pytest.mark.parametrize("threshold", ["0", "1"], ids=["by the feed", "by ranges"])
def test_they_are_copied_or_in_quarantine(medic, database, monkeypatch, at_once, threshold):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", threshold)
    assert copy(medic, batch_size=10)["drained"]
    assert differences(medic, database) == []
    kept = database.rows("select _id, sqlstate, body_bytes from v1.couchdb_quarantine")
    assert kept == [("d15-deeper", "54001", len(medic.docs["d15-deeper"].raw))]


def test_contents_are_compared_and_repaired(medic, database, at_once):
    copy(medic)
    assert prove_all("medic", SOURCE, compare_content=True).bad is False
    database.rows("update v1.couchdb set doc = doc || '{\"n\": -1}' where _id in ('d03', 'd05-deep')")
    database.rows("delete from v1.couchdb where _id in ('d07', 'd25-gone')")
    summary = prove_all("medic", SOURCE, compare_content=True)
    assert (summary.bad, summary.differences, summary.repaired) == (False, 4, 4)
    assert differences(medic, database) == []


def test_rows_that_are_lost_are_repaired(medic, database, at_once):
    copy(medic)
    database.rows("delete from v1.couchdb")
    database.rows("delete from v1.couchdb_quarantine")
    summary = prove_all("medic", SOURCE)
    assert (summary.bad, summary.repaired) == (False, 33)
    assert differences(medic, database) == []
    assert prove_all("medic", SOURCE, compare_content=True).differences == 0
