"""A node of a cluster that is down or in maintenance: trouble that passes, and never a document's fault."""

from __future__ import annotations

import pytest

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.errors import CouchDBError, NodeDownError
from tests.faults.proxy import Fault, FaultProxy, http_answer
from tests.faults.rig import is_one_sentence, shorten_pauses
from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.operators.test_operator import copy
from tests.integration.reconcile.proving import prove_all
from tests.unit.couchdb.test_structs import recorded

pytestmark = pytest.mark.integration
SOURCE = "127.0.0.1/medic"
DOWN = http_answer(412, recorded("cluster/maintenance_changes"))


@pytest.fixture
def medic(monkeypatch, database):
    cluster = Cluster()
    medic = cluster.databases["medic"] = ClusterDatabase("medic", 1)
    for number in range(20):
        medic.put(f"d{number:02}", "1-a", f'{{"_id":"d{number:02}","_rev":"1-a"}}'.encode())
    medic.name, medic.source = "medic", SOURCE
    with FaultProxy("127.0.0.1", cluster.port) as proxy:
        monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
        monkeypatch.setenv("COUCHDB_PORT", str(proxy.port))
        monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "0")
        shorten_pauses(monkeypatch, 1.0)
        medic.proxy = proxy
        yield medic
    cluster.close()


def rows(database):
    return database.value("select count(*)::int from v1.couchdb")


def in_quarantine(database):
    return database.value("select count(*)::int from v1.couchdb_quarantine")


@pytest.mark.parametrize("match", [b"GET /medic HTTP", b"/_changes?", b"/_all_docs"], ids=["db", "feed", "listing"])
@pytest.mark.parametrize("threshold", ["0", "1"], ids=["by the feed", "by ranges"])
def test_what_passes_is_waited_for(medic, database, monkeypatch, match, threshold):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", threshold)
    medic.proxy.inject(Fault(match=match, answer=DOWN, times=2))
    assert copy(medic, batch_size=5)["drained"]
    assert (rows(database), in_quarantine(database)) == (20, 0)
    assert prove_all("medic", SOURCE).bad is False


@pytest.mark.parametrize("match", [b"GET /medic HTTP", b"/_changes?"], ids=["db", "feed"])
def test_what_does_not_pass_is_told_in_one_sentence(medic, database, match):
    copy(medic)
    medic.proxy.inject(Fault(match=match, answer=DOWN))
    with pytest.raises(
        NodeDownError, match=r"node couch2@127\.0\.0\.1 of the cluster is down or in maintenance"
    ) as caught:
        copy(medic)
    assert is_one_sentence(str(caught.value))
    assert "COUCHDB_HOST" not in str(caught.value)
    medic.proxy.clear()
    assert copy(medic)["drained"]


def test_another_412_is_final(medic):
    medic.proxy.inject(Fault(match=b"/_changes?", answer=http_answer(412, b'{"error":"missing_stub","reason":"x"}')))
    with pytest.raises(Exception, match="refused database 'medic' with 412") as caught:
        copy(medic)
    assert not isinstance(caught.value, CouchDBError)


def test_no_document_is_blamed_for_it(medic, database):
    """The feed comes without bodies, and those of one shard cannot be had."""
    medic.lost.update(f"d{number:02}" for number in range(0, 20, 3))
    medic.mishaps.extend(["bare"] * 4)
    for _ in range(2):
        with pytest.raises(NodeDownError):
            copy(medic)
        assert in_quarantine(database) == 0
        medic.mishaps.extend(["bare"] * 4)
    medic.lost.clear()
    assert copy(medic)["drained"]
    assert (rows(database), in_quarantine(database)) == (20, 0)


def test_a_failure_that_is_everywhere_blames_no_document(medic, database):
    """500 may be one document's fault; where the database itself cannot be asked either it is not."""
    copy(medic)
    for number in range(3):
        medic.put(f"new{number}", "1-a", f'{{"_id":"new{number}","_rev":"1-a"}}'.encode())
    medic.mishaps.append("bare")
    boom = http_answer(500, b'{"error":"timeout","reason":"late"}')
    medic.proxy.inject(Fault(match=b"/medic/new", answer=boom, do=lambda: down_too(medic)))
    with pytest.raises(CouchDBError):
        copy(medic)
    assert in_quarantine(database) == 0
    medic.proxy.clear()
    assert copy(medic)["drained"]
    assert rows(database) == 23


def down_too(medic):
    medic.proxy.inject(Fault(match=b"GET /medic HTTP", answer=DOWN))


def test_a_wait_for_changes_says_it_too(medic):
    medic.proxy.inject(Fault(match=b"feed=longpoll", answer=DOWN))
    with pytest.raises(NodeDownError):
        CouchDBHook().has_changes("medic", "0", 1.0)
