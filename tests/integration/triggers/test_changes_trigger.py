"""The trigger that waits for changes, with a real CouchDB-protocol server and a real Postgres."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress

import pytest

from cht_sync.settings.settings import REPOSITORY
from cht_sync.triggers import changes
from cht_sync.triggers.changes import ChangesTrigger
from tests.faults.proxy import Fault, FaultProxy, http_answer
from tests.integration.operators.test_operator import Couch, copy

pytestmark = pytest.mark.integration
SOON, NOT_SOON = 10.0, 3.0


class Waited:
    """A trigger that runs, and the events it has fired."""

    def __init__(self):
        self._events = ChangesTrigger().run()
        self._next = None

    async def event(self, seconds):
        """The sources of the next event; None where none comes in time."""
        self._next = self._next or asyncio.ensure_future(anext(self._events))
        done, _ = await asyncio.wait([self._next], timeout=seconds)
        if not done:
            return None
        event, self._next = self._next.result(), None
        return event.payload["sources"]

    async def end(self):
        if self._next:
            self._next.cancel()
            with suppress(asyncio.CancelledError):
                await self._next
        await self._events.aclose()


@pytest.fixture
def couch(couchdb_server, database, monkeypatch):
    """A database that the settings name, behind a proxy; pauses are short."""
    couch = Couch(couchdb_server)
    with FaultProxy(couchdb_server.host, couchdb_server.port) as proxy:
        for name, value in {
            "COUCHDB_HOST": "127.0.0.1",
            "COUCHDB_PORT": str(proxy.port),
            "COUCHDB_USER": couchdb_server.user,
            "COUCHDB_PASSWORD": couchdb_server.password,
            "COUCHDB_DBS": couch.name,
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(changes, "LONG_POLL_S", 5.0)
        monkeypatch.setattr(changes, "QUIET_S", 0.3)
        monkeypatch.setattr(changes, "LOOK_S", 0.2)
        couch.proxy = proxy
        yield couch


def play(story):
    async def whole():
        waited = Waited()
        try:
            await story(waited)
        finally:
            await waited.end()

    asyncio.run(whole())


async def run_of(couch):
    await asyncio.to_thread(copy, couch)


def test_it_fires_once_for_a_burst_and_not_where_nothing_is_new(couch):
    async def story(waited):
        couch.write({"_id": "first"})
        assert await waited.event(SOON) == [couch.source]
        assert await waited.event(NOT_SOON) is None, "the run has not come yet"
        await run_of(couch)
        assert await waited.event(NOT_SOON) is None
        for number in range(20):
            couch.write({"_id": f"d{number}"})
        assert await waited.event(SOON) == [couch.source]
        await run_of(couch)
        assert await waited.event(NOT_SOON) is None

    play(story)


def test_what_changes_while_a_run_reads_is_fired_for(couch):
    async def story(waited):
        couch.write({"_id": "a"})
        assert await waited.event(SOON)
        await run_of(couch)
        couch.write({"_id": "b"})
        assert await waited.event(SOON) == [couch.source]

    play(story)


def test_a_run_that_fails_is_followed_by_another(couch, monkeypatch):
    monkeypatch.setattr(changes, "PATIENCE_S", 1.0)

    async def story(waited):
        couch.write({"_id": "a"})
        assert await waited.event(SOON)
        assert await waited.event(SOON) == [couch.source]

    play(story)


def test_a_run_that_takes_the_change_by_itself_is_not_followed_by_an_empty_one(couch, monkeypatch):
    couch.write({"_id": "a"})
    copy(couch)
    monkeypatch.setattr(changes, "QUIET_S", 6.0)

    async def story(waited):
        assert await waited.event(1) is None
        couch.write({"_id": "b"})
        await asyncio.sleep(0.5)
        await run_of(couch)
        assert await waited.event(6 + NOT_SOON) is None
        couch.write({"_id": "c"})
        assert await waited.event(SOON) == [couch.source]

    play(story)


def test_a_triggerer_that_is_started_again_does_not_ask_twice(couch, monkeypatch):
    couch.write({"_id": "a"})
    copy(couch)
    couch.write({"_id": "b"})

    async def asks(waited):
        assert await waited.event(SOON) == [couch.source]

    async def asks_not(waited):
        assert await waited.event(NOT_SOON) is None
        await run_of(couch)
        assert await waited.event(NOT_SOON) is None
        couch.write({"_id": "c"})
        assert await waited.event(SOON) == [couch.source]

    play(asks)
    play(asks_not)
    # The run that "c" asked for never comes: it is asked for again.
    monkeypatch.setattr(changes, "PATIENCE_S", 1.0)
    play(asks)


def test_after_an_upgrade_the_first_run_makes_what_is_missing(couch, database):
    couch.write({"_id": "a"})
    copy(couch)
    database.rows("alter table v1.couchdb_progress drop column asked_at")
    database.rows("delete from v1.couchdb_migration where name like '%/0015%'")

    async def story(waited):
        assert await waited.event(SOON) == [couch.source]
        await run_of(couch)
        assert await waited.event(NOT_SOON) is None

    play(story)


def test_rest_is_no_failure(couch, database, monkeypatch):
    """Alerts and the status page look at when a source was last looked at."""
    monkeypatch.setattr(changes, "LONG_POLL_S", 1.0)
    couch.write({"_id": "a"})
    copy(couch)
    database.rows("update v1.couchdb_progress set updated_at = now() - interval '1 hour', drained_at = null")

    async def story(waited):
        assert await waited.event(2 * NOT_SOON) is None

    play(story)
    assert database.rows(
        "select now() - updated_at < interval '1 minute', now() - drained_at < interval '1 minute' from v1.couchdb_progress"
    ) == [(True, True)]


@pytest.mark.parametrize("status", [401, 404, 500])
def test_it_outlives_a_couchdb_that_fails(couch, status):
    async def story(waited):
        fault = couch.proxy.inject(Fault(match=b"_changes?", answer=http_answer(status)))
        couch.write({"_id": "a"})
        assert await waited.event(NOT_SOON) is None
        assert 1 <= fault.hits < 9, "it asks ever more slowly"
        couch.proxy.clear()
        assert await waited.event(SOON) == [couch.source]

    play(story)


def test_it_outlives_a_couchdb_that_is_away(couch):
    copy(couch)

    async def story(waited):
        assert await waited.event(1) is None
        couch.proxy.refuse()
        couch.proxy.reset_all()
        couch.write({"_id": "a"})
        assert await waited.event(2) is None
        couch.proxy.listen()
        assert await waited.event(SOON) == [couch.source]

    play(story)


def test_a_couchdb_that_hangs_is_not_taken_for_one_at_rest(couch, database, monkeypatch):
    monkeypatch.setattr(changes, "LONG_POLL_S", 0.5)
    couch.write({"_id": "a"})
    copy(couch)
    database.rows("update v1.couchdb_progress set updated_at = now() - interval '1 hour'")
    couch.proxy.inject(Fault(match=b"_changes?", hang=True))

    async def story(waited):
        assert await waited.event(NOT_SOON) is None

    play(story)
    assert database.rows("select now() - updated_at > interval '59 minutes' from v1.couchdb_progress") == [(True,)]


def test_it_outlives_what_nobody_thought_of(couch, monkeypatch):
    real, calls = changes.read_state, []

    def read_state(settings, name):
        calls.append(name)
        if len(calls) == 1:
            raise RuntimeError("nobody thought of this")
        return real(settings, name)

    monkeypatch.setattr(changes, "read_state", read_state)

    async def story(waited):
        couch.write({"_id": "a"})
        assert await waited.event(SOON) == [couch.source]

    play(story)


def test_a_run_is_asked_for_also_where_that_cannot_be_noted(couch, monkeypatch):
    def ask(settings, waiting):
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(changes, "ask", ask)

    async def story(waited):
        couch.write({"_id": "a"})
        assert await waited.event(SOON) == [couch.source]

    play(story)


def test_one_source_that_fails_stops_no_other(couch, couchdb_server, monkeypatch):
    monkeypatch.setenv("COUCHDB_DBS", f"nowhere, {couch.name}")

    async def story(waited):
        couch.write({"_id": "a"})
        assert await waited.event(SOON) == [couch.source]

    play(story)


def test_it_is_the_same_trigger_after_a_restart_and_holds_no_secret():
    """Airflow knows an event's trigger by path and arguments: another hash would be another trigger."""
    path, arguments = ChangesTrigger().serialize()
    assert (path, arguments) == ("cht_sync.triggers.changes.ChangesTrigger", {})
    code = "from cht_sync.triggers.changes import ChangesTrigger as T; t = T(); print(t.serialize())"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env={"PYTHONPATH": "plugins", "PATH": ""},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert said.splitlines()[-1] == str((path, arguments))
