"""Makes tombstones of documents that a database does not hold any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import CouchDBError
from cht_sync.sync import database_identity

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.store.document_store import DocumentStore
    from cht_sync.store.page_writer import Written

AT_A_TIME = 1000


def sweep(
    store: DocumentStore, source: str, missing: Callable[[list[str]], list[str]], budget: float, *, sure: bool = True
) -> Iterator[Written]:
    """Looks through the documents of a source, where a restart asked for it, from where an earlier run came to.

    :param budget: seconds after which the rest is left to the next run.
    :param sure: whether what ``missing`` says can be relied on; else it is only noted, to be checked again.
    """
    state, begun = store.state(source), time.monotonic()
    while state.sweep_after is not None and time.monotonic() - begun < budget:
        found = store.live_documents(source, state.sweep_after, AT_A_TIME)
        revisions = dict(found)
        gone = missing(list(revisions)) if found else []
        # The last in the order of Postgres, which is not that of Python.
        after = found[-1][0] if found else None
        tombstones = [Change(name, [Revision(rev)] if (rev := revisions[name]) else [], deleted=True) for name in gone]
        yield store.save_tombstones(source, tombstones, state, after, sure=sure)
        state = replace(state, sweep_after=after)


def missing_documents(hook: CouchDBHook, database: str, source: str, ids: list[str]) -> list[str]:
    """Those of some documents that a database does not hold, asked twice."""
    if missing := _without_revision(hook, database, ids):
        # A replica that lags may not know yet what is there.
        time.sleep(database_identity.SECOND_LOOK_S)
        missing = _without_revision(hook, database, [state.id for state in missing])
    if unclear := [state for state in missing if bytes(state.error) != b'"not_found"']:
        raise CouchDBError(
            f"CouchDB does not say whether {len(unclear)} documents of {source} exist"
            f" ({bytes(unclear[0].error)[:200].decode(errors='replace')}); the search for deleted ones goes on with the"
            " next run."
        )
    return [state.id for state in missing]


def _without_revision(hook: CouchDBHook, database: str, ids: list[str]) -> list[Change]:
    return [state for state in hook.states(database, ids) if state.rev is None]
