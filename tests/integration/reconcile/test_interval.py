"""The documents of a day: which they are, and what a proof of that day does with them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.reconcile.scope import Interval
from tests.integration.machine.cluster import Cluster, ClusterDatabase
from tests.integration.operators.test_operator import copy, couch  # noqa: F401
from tests.integration.reconcile.proving import prove_interval

pytestmark = pytest.mark.integration
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = 3
DAY = timedelta(days=1)


def day(number):
    return Interval(FIRST + number * DAY, FIRST + (number + 1) * DAY)


@pytest.fixture
def days(couch, database):  # noqa: F811
    """Documents that were written and copied on three days of March, ten a day."""
    for number in range(DAYS):
        couch.write(*({"_id": f"day{number}-{n}", "reported_date": 1000 * n} for n in range(10)))
        copy(couch)
        database.rows(
            "update v1.couchdb_window set started_at = %s, ended_at = %s where ended_at > '2026-04-01'",
            day(number).start + timedelta(hours=5),
            day(number).start + timedelta(hours=6),
        )
    return couch


def stamps(database):
    return dict(database.rows("select _id, saved_timestamp from v1.couchdb"))


def test_a_day_compares_what_it_touched(days, database):
    for number in range(DAYS):
        summary = prove_interval(days.name, days.source, day(number))
        assert (summary.bad, summary.differences) == (False, 0)
        assert summary.compared >= 10
    # The feed is read from where it stood on that day, the rows by their stamps of that day.
    assert prove_interval(days.name, days.source, day(2)).compared == 10
    assert prove_interval(days.name, days.source, Interval(day(2).end, day(2).end + DAY)).compared == 0


def test_a_lost_window_is_found(days, database, differences):
    database.rows("delete from v1.couchdb where _id like 'day1-%'")
    summary = prove_interval(days.name, days.source, day(1))
    assert (summary.bad, summary.repaired) == (False, 10)
    assert differences(days) == []
    assert prove_interval(days.name, days.source, day(1)).differences == 0


def test_a_row_that_couchdb_knows_no_more_is_found(days, database):
    # As after a purge, which leaves no change behind.
    database.rows(
        'insert into v1.couchdb select saved_timestamp, \'purged\', false, source, \'{"_id": "purged", "_rev": "1-a"}\''
        " from v1.couchdb where _id = 'day1-5'"
    )
    assert prove_interval(days.name, days.source, day(1)).repaired == 1
    assert database.rows("select _deleted from v1.couchdb where _id = 'purged'") == [(True,)]


def test_reprocess_gives_new_stamps_and_changes_nothing_else(days, database, differences):
    before = stamps(database)
    for _ in range(2):
        newest = max(stamps(database).values())
        summary = prove_interval(days.name, days.source, day(2), reprocess=True)
        assert (summary.bad, summary.restamped, summary.repaired) == (False, 10, 0)
        after = stamps(database)
        assert {name for name in after if after[name] != before[name]} == {f"day2-{n}" for n in range(10)}
        assert min(after[f"day2-{n}"] for n in range(10)) > newest
    assert differences(days) == []


def test_a_dry_run_changes_nothing(days, database):
    database.rows("delete from v1.couchdb where _id = 'day1-3'")
    before = stamps(database)
    summary = prove_interval(days.name, days.source, day(1), dry_run=True, reprocess=True)
    assert (summary.bad, summary.differences, summary.repaired, summary.restamped) == (True, 1, 0, 0)
    assert stamps(database) == before


def test_before_the_ledger_nobody_knows(days, database):
    early = Interval(FIRST - DAY, FIRST)
    summary = prove_interval(days.name, days.source, early)
    assert (summary.skipped, summary.bad) == (1, False)
    assert "begins at 2026-03-01 05:00 UTC" in summary.reasons[0]
    # By what the documents say of themselves, if a person wants it.
    reported = Interval(datetime.fromtimestamp(2, UTC), datetime.fromtimestamp(5, UTC))
    summary = prove_interval(days.name, days.source, reported, by_reported_date=True)
    assert (summary.skipped, summary.compared) == (0, 9)


def test_two_runs_at_once_repair_once(days, database, differences):
    import threading

    database.rows("delete from v1.couchdb where _id like 'day%'")
    done = []
    intervals = [day(0), day(1), day(0)]
    threads = [
        threading.Thread(
            target=lambda each=each: done.append(prove_interval(days.name, days.source, each, patience=30))
        )
        for each in intervals
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [each.bad for each in done] == [False] * 3
    # A repaired document is repaired by one of them.
    assert sum(each.repaired for each in done) == 30
    assert differences(days) == []


def test_a_couchdb_that_takes_a_time_is_asked_for_it(database, monkeypatch):
    cluster = Cluster()
    for name, value in {"HOST": "127.0.0.1", "PORT": str(cluster.port)}.items():
        monkeypatch.setenv(f"COUCHDB_{name}", value)
    cluster.databases["medic"] = medic = ClusterDatabase("medic", 1)
    medic.put("early", "1-a", b'{"_id":"early","_rev":"1-a"}')
    medic.mark("2026-02-27T00:00:00Z")
    medic.put("lost", "1-a", b'{"_id":"lost","_rev":"1-a"}')
    medic.put("kept", "1-a", b'{"_id":"kept","_rev":"1-a"}')
    medic.mark("2026-02-28T00:00:00Z")
    CouchDBToPostgresOperator(task_id="sync", database="medic").execute({})
    database.rows("delete from v1.couchdb where _id in ('lost', 'early')")
    database.rows("update v1.couchdb_window set started_at = %s, ended_at = %s", FIRST, FIRST + DAY)
    early = Interval(FIRST - 2 * DAY, FIRST - DAY)
    assert prove_interval("medic", "127.0.0.1/medic", early).skipped == 1
    cluster.handler.version = "3.6.0"
    summary = prove_interval("medic", "127.0.0.1/medic", early)
    assert (summary.skipped, summary.compared, summary.repaired) == (0, 2, 1)
    assert database.rows("select _id from v1.couchdb order by 1") == [("kept",), ("lost",)]
    cluster.close()
