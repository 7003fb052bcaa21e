"""Proxies between here and CouchDB: what they refuse, answer themselves or cut, the sync does without where it can."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from cht_sync.check.couchdb import check_couchdb
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.settings.settings import Settings
from cht_sync.triggers import changes
from tests.faults.proxy import Fault, FaultProxy, http_answer
from tests.integration.machine.cluster import CREATED, Cluster, ClusterDatabase
from tests.integration.operators.test_operator import copy
from tests.integration.reconcile.proving import prove_all
from tests.integration.triggers.test_changes_trigger import SOON, play

pytestmark = pytest.mark.integration
SOURCE = "127.0.0.1/medic"
ROOT = b"GET / HTTP"
SIGN_IN = http_answer(200, b"<!DOCTYPE html>\n<html>Sign in</html>", Content_Type="text/html")


@pytest.fixture
def medic(monkeypatch, database):
    """A database of a cluster, behind a proxy that the settings name."""
    cluster = Cluster()
    medic = cluster.databases["medic"] = ClusterDatabase("medic", 1)
    for number in range(40):
        write(medic, f"d{number:02}", number)
    medic.name, medic.source = "medic", SOURCE
    with FaultProxy("127.0.0.1", cluster.port) as proxy:
        for name, value in {
            "COUCHDB_HOST": "127.0.0.1",
            "COUCHDB_PORT": str(proxy.port),
            "COUCHDB_DBS": "medic",
            "CHT_FIRST_LOAD_THRESHOLD": "0",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr("cht_sync.reconcile.comparison.RECHECK_AFTER_S", 0.02)
        monkeypatch.setattr("cht_sync.common.retry.LONGEST_PAUSE", 0.05)
        medic.proxy = proxy
        yield medic
    cluster.close()


def write(medic, id, number):
    medic.put(id, "1-a", f'{{"_id":"{id}","_rev":"1-a","n":{number}}}'.encode())


def ids(database):
    return sorted(name for (name,) in database.rows("select _id from v1.couchdb where not _deleted"))


@pytest.mark.parametrize(
    "refusal",
    [
        {"answer": http_answer(401)},
        {"answer": http_answer(403, b"<html>no</html>", Content_Type="text/html")},
        {"answer": http_answer(404)},
        {"answer": http_answer(302, Location="/medic/login")},
        {"answer": SIGN_IN},
        {"answer": http_answer(200, b'{"proxy":"welcome"}')},
        {"answer": http_answer(502)},
        {"answer": http_answer(503, b"<html>no server</html>", Content_Type="text/html", Retry_After="60")},
        {"forward": False, "close_at": 0, "reset": False},
        {"forward": False, "close_at": 0},
    ],
    ids=["401", "403", "404", "302", "HTML", "other JSON", "502", "503", "closed", "reset"],
)
def test_a_server_whose_first_page_is_kept_back_is_copied_and_proven(medic, database, refusal):
    fault = medic.proxy.inject(Fault(match=ROOT, **refusal))
    begun = time.monotonic()
    assert copy(medic)["drained"]
    assert fault.hits > 0
    assert ids(database) == sorted(medic.ids)
    # When it was made is known all the same: only servers that mean it say it in seconds.
    assert database.rows("select instance_start_time from v1.couchdb_progress") == [(CREATED,)]
    assert prove_all("medic", SOURCE).bad is False
    assert time.monotonic() - begun < 30
    works, said = CouchDBHook().test_connection()
    assert works, said
    assert not [each for each in check_couchdb(Settings()) if each.state == "failed"]
    assert time.monotonic() - begun < 60, "nobody who asks waits for what a proxy says of its own page"


@pytest.mark.parametrize("answer", [http_answer(403), http_answer(404), http_answer(405)], ids=["403", "404", "405"])
def test_where_documents_cannot_be_listed_the_feed_brings_them(medic, database, monkeypatch, caplog, answer):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "1")
    fault = medic.proxy.inject(Fault(match=b"/_all_docs", answer=answer))
    # Documents that the feed does not bring come by the revision that it names.
    medic.mishaps.extend(["", "", "bare"])
    with caplog.at_level("INFO"):
        assert copy(medic, batch_size=10)["drained"]
    assert fault.hits > 0
    assert ids(database) == sorted(medic.ids)
    assert database.rows("select count(*)::int from v1.couchdb_quarantine") == [(0,)]
    assert database.rows("select count(*)::int from v1.couchdb_first_load") == [(0,)]
    (said,) = [each.getMessage() for each in caplog.records if "documents cannot be listed" in each.getMessage()]
    assert said.startswith(f"{SOURCE}: the feed is read from its beginning")


def test_a_load_that_is_under_way_is_left_to_the_feed_too(medic, database, monkeypatch):
    monkeypatch.setenv("CHT_FIRST_LOAD_THRESHOLD", "1")
    copy(medic, batch_size=5, time_budget=1e-9)
    assert database.rows("select count(*) > 0 from v1.couchdb_first_load") == [(True,)]
    medic.proxy.inject(Fault(match=b"/_all_docs", answer=http_answer(403)))
    assert copy(medic, batch_size=5)["drained"]
    assert ids(database) == sorted(medic.ids)
    assert database.rows("select count(*)::int from v1.couchdb_first_load") == [(0,)]


@pytest.mark.parametrize(
    "match", [b"", b"GET /medic HTTP", b"/_changes?", b"/medic/d0"], ids=["any", "db", "feed", "doc"]
)
def test_a_page_of_html_is_tried_again(medic, database, match):
    medic.mishaps.extend(["bare"] * 3)
    fault = medic.proxy.inject(Fault(match=match, answer=SIGN_IN, times=3))
    assert copy(medic, batch_size=10)["drained"]
    assert fault.hits == 3 or match == b"/medic/d0"
    assert ids(database) == sorted(medic.ids)
    assert database.rows("select count(*)::int from v1.couchdb_quarantine") == [(0,)]


def waits(medic, monkeypatch, seconds):
    monkeypatch.setattr(changes, "LONG_POLL_S", seconds)
    monkeypatch.setattr(changes, "QUIET_S", 0.1)
    monkeypatch.setattr(changes, "LOOK_S", 0.2)
    copy(medic)


def warnings(caplog):
    return [each for each in caplog.records if each.name.startswith("cht_sync") and each.levelno >= logging.WARNING]


def test_a_proxy_that_cuts_what_is_silent_cuts_no_wait(medic, database, monkeypatch, caplog):
    waits(medic, monkeypatch, 6.0)
    fault = medic.proxy.inject(Fault(match=b"feed=longpoll", idle=3.5))

    async def story(waited):
        assert await waited.event(14) is None
        write(medic, "new", 1)
        begun = time.monotonic()
        assert await waited.event(SOON) == [SOURCE]
        assert time.monotonic() - begun < 3

    with caplog.at_level("WARNING"):
        play(story)
    assert fault.hits == 0
    assert warnings(caplog) == []
    # Rest is no failure: somebody has looked.
    assert database.rows("select now() - drained_at < interval '1 minute' from v1.couchdb_progress") == [(True,)]


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
def test_a_proxy_that_cuts_sooner_than_a_sign_of_life_costs_no_freshness(medic, monkeypatch, caplog, reset):
    waits(medic, monkeypatch, 6.0)
    fault = medic.proxy.inject(Fault(match=b"feed=longpoll", idle=0.3, reset=reset))

    async def story(waited):
        assert await waited.event(5) is None
        assert fault.hits > 2
        write(medic, "new", 1)
        begun = time.monotonic()
        assert await waited.event(SOON) == [SOURCE]
        assert time.monotonic() - begun < 3

    with caplog.at_level("WARNING"):
        play(story)
    assert warnings(caplog) == []


def test_a_long_wait_is_left_at_the_end_of_its_time(medic):
    page = CouchDBHook().changes("medic", None, 100)
    begun = time.monotonic()
    assert CouchDBHook().has_changes("medic", page.checkpoint, 2.0) is False
    assert 1 < time.monotonic() - begun < 3
    assert CouchDBHook().has_changes("medic", None, 2.0) is True

    async def both():
        waiting = asyncio.create_task(asyncio.to_thread(CouchDBHook().has_changes, "medic", page.checkpoint, 10.0))
        await asyncio.sleep(0.5)
        write(medic, "new", 1)
        return await waiting

    begun = time.monotonic()
    assert asyncio.run(both()) is True
    assert time.monotonic() - begun < 5
