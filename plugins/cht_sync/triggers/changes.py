"""Waits for changes in CouchDB."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import copy_context
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.sources import configured_sources
from cht_sync.errors import CouchDBError, SettingsError, StoreError
from cht_sync.settings.settings import Settings
from cht_sync.store.checkpoints import SourceState
from cht_sync.sync.database_identity import says_when_made, sign_of_recreation, stays_behind
from cht_sync.triggers.waiting import Waiting, ask, has_work_left, note_look, read_state

T = TypeVar("T")
# Sources, each with the checkpoint beyond which there are changes.
Changed = asyncio.Queue[tuple[str, str | None]]
LONG_POLL_S = 50.0
# So that a burst of writes starts one run.
QUIET_S = 1.0
LOOK_S = 1.0
# A run that was started and shows no sign of life for so long has failed, or never began.
PATIENCE_S = 60.0
MOST_BACKOFF_S = 60.0
LOOK_FOR_SOURCES_S = 60.0
# Between runs for which nothing has changed.
APART_S = 60.0
log = logging.getLogger(__name__)


class ChangesTrigger(BaseEventTrigger):
    """Fires once when CouchDB holds changes beyond a checkpoint, then waits until a run has read to the end.

    It also fires, at most once a minute, while a run has something to do that no change tells of.

    It has no parameters: what it waits for are the settings of the triggerer, and passwords are in no database. One
    request to each source is open at a time.

    Source: https://docs.couchdb.org/en/stable/api/database/changes.html#long-polling
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Path and arguments, which are the identity of an event's trigger."""
        return "cht_sync.triggers.changes.ChangesTrigger", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Fires; what fails is tried again, at most a minute later, and stops no other source."""
        changed: Changed = asyncio.Queue()
        watches: dict[str, asyncio.Task[None]] = {}
        keeper = asyncio.ensure_future(self._keep(changed, watches))
        try:
            while True:
                waiting = dict([await changed.get()])
                await asyncio.sleep(QUIET_S)
                while not changed.empty():
                    waiting |= dict([changed.get_nowait()])
                if sources := await _ask(waiting):
                    log.info("Changes wait in %s.", ", ".join(sources))
                    yield TriggerEvent({"sources": sources})
        finally:
            for each in (keeper, *watches.values()):
                each.cancel()

    async def _keep(self, changed: Changed, watches: dict[str, asyncio.Task[None]]) -> None:
        """Watches each source that is configured, also where connections change."""

        async def once() -> None:
            wanted = await in_thread(_configured)
            for name in watches.keys() - wanted.keys():
                watches.pop(name).cancel()
            for name in wanted.keys() - watches.keys():
                watches[name] = asyncio.ensure_future(_for_ever(partial(self._watch, *wanted[name], name, changed)))
            await asyncio.sleep(LOOK_FOR_SOURCES_S)

        await _for_ever(once)

    async def _watch(self, conn_id: str, database: str, name: str, changed: Changed) -> None:
        """One wait for one source."""
        settings = Settings()
        before = await in_thread(partial(read_state, settings, name))
        if before.asked_at and before.asked and not _is_lost(before, before.asked_at):
            # A triggerer that is no more has asked for a run.
            await self._until_read(settings, name, before, before.asked_at)
        elif await _has_changes(conn_id, database, before.seq):
            changed.put_nowait((name, before.seq))
            await self._until_read(settings, name, before, None)
        elif await in_thread(partial(_has_work, settings, conn_id, database, name)):
            log.info("%s: nothing has changed, and a run has something to do all the same.", name)
            changed.put_nowait((name, before.seq))
            await self._until_read(settings, name, before, None)
        elif before.seq is not None:
            await in_thread(partial(note_look, settings, name, before.seq))

    async def _until_read(self, settings: Settings, name: str, before: Waiting, asked: datetime | None) -> None:
        """Waits until a run has read a source to the end, or until nothing happens any more."""
        asked = asked or (await in_thread(partial(read_state, settings, name))).now
        while True:
            state = await in_thread(partial(read_state, settings, name))
            # Where the checkpoint has moved, a run that was not asked for may have read all of it before that.
            since = asked if state.seq == before.seq else before.now
            if (state.drained_at and state.drained_at > since) or _is_lost(state, asked):
                return
            await asyncio.sleep(LOOK_S)


def _is_lost(state: Waiting, asked: datetime) -> bool:
    """Whether the run that was asked for shows no sign of life."""
    return (state.now - max(asked, state.updated_at or asked)).total_seconds() > PATIENCE_S


def _has_work(settings: Settings, conn_id: str, database: str, name: str) -> bool:
    """Whether a run is to come though nothing changes; not soon after another was asked for."""
    state = read_state(settings, name)
    if state.updated_at is None or (state.asked_at and (state.now - state.asked_at).total_seconds() < APART_S):
        return False
    return has_work_left(settings, name) or _is_another(CouchDBHook(conn_id), database, state)


def _is_another(hook: CouchDBHook, database: str, state: Waiting) -> bool:
    """Whether a database was made again or restored, so that nothing comes behind the checkpoint."""
    if state.seq is None:
        return False
    info = hook.database(database)
    # The version is asked for only where it matters.
    is_same = info.instance_start_time == state.instance
    instance = info.instance_start_time if is_same or says_when_made(hook, info) else None
    look_again = partial(hook.database, database)
    known = SourceState(state.seq, state.instance)
    return sign_of_recreation(look_again, info, instance, known) is not None or (
        info.has_one_copy and stays_behind(look_again, info, state.seq)
    )


def _configured() -> dict[str, tuple[str, str]]:
    """Connection and database of each source."""
    return {each["source"]: (each["couchdb_conn_id"], each["database"]) for each in configured_sources(Settings())}


async def _ask(waiting: dict[str, str | None]) -> list[str]:
    try:
        return await in_thread(partial(ask, Settings(), waiting))
    except Exception as error:  # whatever it is: a run too many is better than none, and its log says what is wrong
        log.warning("It could not be noted that a run was asked for (%s).", type(error).__name__)
        return sorted(waiting)


async def _has_changes(conn_id: str, database: str, seq: str | None) -> bool:
    """Waits for a change for a while; a hook of its own each time, for passwords that were changed."""

    def ask() -> bool:
        hook = CouchDBHook(conn_id)
        try:
            return hook.has_changes(database, seq, LONG_POLL_S)
        except CouchDBError:
            # Something between may have cut the connection, or kept its signs of life to itself: where CouchDB is away
            # or hangs, this fails too.
            return bool(hook.changes(database, seq, 1, bodies=False).results)

    return await in_thread(ask)


async def _for_ever(once: Callable[[], Awaitable[None]]) -> None:
    """Calls again and again, ever more slowly while it fails."""
    failures = 0
    while True:
        try:
            await once()
            failures = 0
        except Exception as error:  # whatever it is, to stop waiting would go unnoticed
            failures += 1
            most = min(MOST_BACKOFF_S, 2.0**failures)
            ours = isinstance(error, SettingsError | CouchDBError | StoreError)
            said = str(error) if ours else type(error).__name__
            log.warning("Changes cannot be waited for; another try within %.0f s: %s", most, said)
            await asyncio.sleep(random.uniform(most / 2, most))  # noqa: S311 - no secret


async def in_thread(call: Callable[[], T]) -> T:
    """Awaits a call in a daemon thread: a request that waits for CouchDB keeps no triggerer from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(end: Callable[[Any], None], said: Any) -> None:
        if not future.done():
            end(said)

    def work() -> None:
        outcome: tuple[Callable[[Any], None], Any]
        try:
            outcome = future.set_result, call()
        except BaseException as error:  # raised where it is awaited
            outcome = future.set_exception, error
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
    return await future
