"""A proxy that refuses POST: the copy goes on, and what only POST can ask waits and says so."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cht_sync.sync import database_identity, older_documents
from tests.faults.proxy import Fault, FaultProxy, http_answer
from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.machine.replicas import ReplicatedDatabase
from tests.integration.store.test_older_revisions import SOURCE, Medic

pytestmark = pytest.mark.integration
STATUS = pytest.mark.parametrize("status", [401, 403, 404, 405])
SAID = "Let a proxy pass it"


@pytest.fixture
def cluster(monkeypatch, database):
    cluster = Cluster()
    with FaultProxy("127.0.0.1", cluster.port) as proxy:
        for name, value in {"HOST": "127.0.0.1", "PORT": str(proxy.port)}.items():
            monkeypatch.setenv(f"COUCHDB_{name}", value)
        monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "0")
        monkeypatch.setattr(database_identity, "SECOND_LOOK_S", 0.0)
        monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.0)
        monkeypatch.setattr("cht_sync.common.retry.LONGEST_PAUSE", 0.05)
        monkeypatch.setattr(older_documents, "PAUSE", timedelta())
        cluster.proxy = proxy
        yield cluster
    cluster.close()


@pytest.fixture
def medic(cluster, database):
    """A document of which an older revision waits."""
    cluster.databases["medic"] = ReplicatedDatabase("medic", 1)
    medic = Medic(cluster.databases["medic"], database)
    for id in ("edited", "kept"):
        medic.write(id)
    medic.couch.fall_behind(2)
    medic.write("edited")
    medic.couch.alone = 0
    medic.sync()
    medic.couch.alone = 2
    return medic


def warnings(caplog):
    return [each.getMessage() for each in caplog.records if SAID in each.getMessage()]


@STATUS
def test_older_revisions_wait_until_post_is_let_through(medic, cluster, caplog, status):
    cluster.proxy.inject(Fault(match=b"POST /", answer=http_answer(status)))
    medic.read_again()
    for _ in range(2):
        # Each run says it once.
        (said,) = warnings(caplog)
        assert said.startswith(f"{SOURCE}: POST to _bulk_get and _all_docs is refused with {status}: 1 documents")
        assert medic.waiting() == [("edited", "2-a", "1-a", 0)]
        caplog.clear()
        assert medic.sync()["drained"]
    cluster.proxy.clear()
    caplog.clear()
    medic.couch.alone = None
    medic.couch.catch_up()
    medic.write("new")
    medic.sync()
    assert (medic.waiting(), warnings(caplog)) == ([], [])
    assert medic.rows() == {"edited": ("2-a", False), "kept": ("1-a", False), "new": ("1-a", False)}


@STATUS
def test_where_bulk_get_alone_is_refused_the_listing_is_asked(medic, cluster, caplog, status):
    cluster.proxy.inject(Fault(match=b"/_bulk_get", answer=http_answer(status)))
    medic.read_again()
    assert medic.waiting() == [("edited", "2-a", "1-a", 1)]
    medic.couch.alone = 0
    medic.sync()
    assert (medic.waiting(), warnings(caplog)) == ([], [])


@STATUS
def test_a_sweep_waits_until_post_is_let_through(cluster, database, caplog, status):
    medic = Medic(ClusterDatabase("medic", 1), database)
    cluster.databases["medic"] = medic.couch
    for id in ("a", "lost"):
        medic.write(id)
    medic.sync()
    medic.couch = cluster.databases["medic"] = ClusterDatabase("medic", 2)
    medic.couch.created = "1700000001"
    for id in ("a", "new"):
        medic.write(id)
    cluster.proxy.inject(Fault(match=b"POST /", answer=http_answer(status)))
    assert medic.sync()["drained"]
    assert medic.rows() == {"a": ("1-a", False), "lost": ("1-a", False), "new": ("1-a", False)}
    assert medic.database.value("select sweep_after from v1.couchdb_progress") == ""
    (said,) = warnings(caplog)
    assert "the search for documents that a database made again does not hold waits" in said
    cluster.proxy.clear()
    medic.sync()
    assert medic.rows()["lost"] == ("1-a", True)
    assert medic.database.value("select sweep_after from v1.couchdb_progress") is None


@STATUS
def test_the_proof_of_a_first_load_waits_until_post_is_let_through(cluster, database, monkeypatch, caplog, status):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "1")
    medic = Medic(ClusterDatabase("medic", 1), database)
    cluster.databases["medic"] = medic.couch
    for id in ("a", "b"):
        medic.write(id)
    medic.sync()
    unproven = "select count(*) > 0 from v1.couchdb_first_load where proven_at is null"
    assert medic.database.value(unproven) is False
    # As if the load had left out a document.
    medic.database.rows("delete from v1.couchdb where _id = 'a'")
    medic.database.rows("delete from v1.couchdb_reconciliation")
    medic.database.rows("update v1.couchdb_first_load set proven_at = null")
    cluster.proxy.inject(Fault(match=b"POST /", answer=http_answer(status)))
    medic.write("new")
    assert medic.sync()["drained"]
    (said,) = [each.getMessage() for each in caplog.records if "the proof of the first load waits" in each.getMessage()]
    assert f"refused database 'medic' with {status}" in said
    assert medic.rows() == {"b": ("1-a", False), "new": ("1-a", False)}
    assert medic.database.value(unproven) is True
    cluster.proxy.clear()
    medic.sync()
    assert medic.rows().keys() == {"a", "b", "new"}
    assert medic.database.value(unproven) is False
