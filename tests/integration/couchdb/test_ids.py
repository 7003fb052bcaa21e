"""Documents of every kind of ``_id``: by address, by question, in listings, in repairs; from a server and a cluster."""

from __future__ import annotations

import io
import json
import secrets

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.structs import Change, Revision
from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.machine.odd_documents import as_json
from tests.integration.operators.test_operator import Couch, copy
from tests.integration.reconcile.proving import prove_all
from tests.oracle.oracle import Postgres, compare_states

pytestmark = pytest.mark.integration
KINDS = [
    "a/b",
    "/",
    "a/",
    "//",
    "a+b c",
    "100%",
    "%2F",
    "%zz",
    "#",
    "a#b?c&d=e;f",
    "?rev=1-a",
    "Ä子😀\u0301",
    "مرحبا",
    "e" * 6000,
    "é" * 3000,
    "n" * 9000,
    "😀" * 2500,
    "_design/x",
    "_design/a/b",
    "_design/%2F",
    "_design/é" + "y" * 9000,
    "partition:document",
    ":",
    ".",
    "..",
    "...",
    "a/../b",
    "./a",
    "~",
    '"\\',
    "local/_local",
    "\t\n\x7f",
]
EXAMPLES = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
_parts = st.sampled_from([*"/+%#?&=:.~ \\\"'", "..", "%2F", "é", "😀", "子", "a", "b" * 300])
ids = st.sampled_from(KINDS) | st.lists(_parts, min_size=1, max_size=6).map("".join)
designs = ids.map(lambda id: id if id.startswith("_design/") else f"_design/{id}")


def fetched(database, id, rev):
    sink = io.BytesIO()
    CouchDBHook(tolerance=5).body(database, Change(id, [Revision(rev)]), sink)
    return sink.getvalue()


@pytest.fixture
def server(couchdb_server, database, monkeypatch):
    for name, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(couchdb_server.port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
    }.items():
        monkeypatch.setenv(name, value)
    return Couch(couchdb_server)


@pytest.fixture
def cluster(monkeypatch):
    cluster = Cluster()
    monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
    monkeypatch.setenv("COUCHDB_PORT", str(cluster.port))
    # A document that no request brings would be asked for until the test's time is over.
    monkeypatch.setattr("cht_sync.common.retry.LONGEST_PAUSE", 0.05)
    yield cluster
    cluster.close()


@EXAMPLES
@given(id=ids | designs)
def test_a_document_of_a_server_is_handed_out(server, id):
    rev = f"1-{secrets.token_hex(16)}"
    # As replication writes, so that an example may come again.
    wanted = {"_id": id, "_rev": rev, "n": 1.5}
    tree = {"start": 1, "ids": [rev[2:]]}
    answer = requests.post(
        f"{server.url}/_bulk_docs",
        json={"new_edits": False, "docs": [{**wanted, "_revisions": tree}]},
        auth=server.session.auth,
        timeout=30,
    )
    assert answer.json() == []
    assert json.loads(fetched(server.name, id, rev)) == wanted


@EXAMPLES
@given(id=ids | designs | st.sampled_from(["l\ud800", "\udc00" * 2000, "_design/\ud800", "\0", "a\0/"]))
def test_a_document_of_a_cluster_is_handed_out_byte_by_byte(cluster, id):
    database = cluster.databases.setdefault("ids", ClusterDatabase("ids", 1))
    raw = f'{{ "_id":{as_json(id)},"_rev":"1-a","t":[{{}}]}}'.encode()
    database.put(id, "1-a", raw)
    assert fetched("ids", id, "1-a") == raw
    # Deleted ones too: no listing has their bodies.
    raw = f'{{"_id":{as_json(id)},"_rev":"2-b","_deleted":true,"why":1}}'.encode()
    database.put(id, "2-b", raw, deleted=True)
    assert fetched("ids", id, "2-b") == raw


@pytest.mark.parametrize("threshold", ["0", "1"], ids=["by the feed", "by ranges"])
def test_all_of_them_are_copied_proven_and_repaired(cluster, database, monkeypatch, threshold):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", threshold)
    monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.02)
    monkeypatch.setattr("cht_sync.reconcile.repair.PAUSE_S", 0.0)
    monkeypatch.setenv("CHT_RECONCILE_RANGE", "5")
    medic = cluster.databases["medic"] = ClusterDatabase("medic", 1)
    for id in KINDS:
        medic.put(id, "1-a", f'{{"_id":{as_json(id)},"_rev":"1-a","n":1}}'.encode())
    for id in ("_design/gone/b", "gone." + "n" * 9000):
        medic.put(id, "2-b", f'{{"_id":{as_json(id)},"_rev":"2-b","_deleted":true,"why":1}}'.encode(), deleted=True)
    # Rows without their documents: each has to be fetched by its id.
    medic.mishaps.extend(["bare"] * 30)
    source = "127.0.0.1/medic"
    couch = type("Source", (), {"name": "medic", "source": source})
    assert copy(couch, batch_size=4)["drained"]

    def differences():
        import psycopg2

        with psycopg2.connect(database.dsn) as connection:
            return compare_states(medic, Postgres(connection, source)).differences

    assert differences() == []
    assert database.rows("select _id from v1.couchdb_quarantine where body_bytes = 0") == []
    database.rows("update v1.couchdb set doc = jsonb_build_object('_id', _id, '_rev', '1-0')")
    medic.mishaps.clear()
    repaired = prove_all("medic", source)
    assert (repaired.differences, repaired.repaired) == (len(KINDS) + 2, len(KINDS) + 2)
    assert differences() == []
    summary = prove_all("medic", source, compare_content=True)
    assert (summary.bad, summary.differences) == (False, 0)
