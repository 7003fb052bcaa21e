"""A server with a new name: found out before anything is written, and renamed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cht_sync.connections import postgres_connection
from cht_sync.errors import SettingsError
from cht_sync.renaming_store import Renamed, RenamingStore
from cht_sync.sources import configured_sources

if TYPE_CHECKING:
    from cht_sync.couchdb import CouchDBHook
    from cht_sync.settings import Settings
    from cht_sync.store import DocumentStore

SAMPLE = 1000
# Fewer documents may be those that every deployment has.
LEAST, SHARE = 20, 0.9
log = logging.getLogger(__name__)


def check_not_renamed(store: DocumentStore, hook: CouchDBHook, database: str, source: str, order: list[str]) -> None:
    """Refuses a source that was never read and whose documents are those of one that is configured no more.

    :param store: where the documents are.
    :param hook: of the server.
    :param database: name of the database.
    :param source: its name as a source.
    :param order: names of the sources that are configured.
    :raises SettingsError: with what to do; nothing was written.
    :raises CouchDBError: if CouchDB does not answer.
    """
    # Where the settings do not name it, an operator alone does, and nobody knows which others are meant to be copied.
    if source not in order or store.checkpoint(source) is not None:
        return
    left = store.sources() - set(order)
    if not left:
        return
    page = hook.patiently(lambda: hook.changes(database, None, SAMPLE, bodies=False))
    seen = [change for change in page.results if not change.id.startswith("_design/")]
    old, number = store.main_owner(seen, sorted(left))
    if old is None or number < max(LEAST, SHARE * len(seen)):
        return
    raise SettingsError(
        f"{number:,} of the first {len(seen):,} documents of {source} belong to {old}, which is configured no more:"
        f" nothing was written. If the server has a new name, run `python -m cht_sync rename-source {old} {source}`, or"
        f" trigger cht_sync with rename_source={json.dumps({old: source})}, or keep the old name as 'instance':"
        f" {json.dumps(old.rsplit('/', 1)[0])} in the extra of connection {hook.conn_id!r}; if it is another server and"
        f" the documents of the old one are to go, trigger cht_sync with confirm_gone={json.dumps([old])}."
    )


def rename_sources(settings: Settings, names: Mapping[str, str], dry_run: bool = False) -> list[Renamed]:
    """Renames sources in Postgres, all of them or none.

    :param settings: the environment; the new names have to be configured, the old ones not any more.
    :param names: old and new names: ``<host>/<database>``, or the host alone for all its databases.
    :param dry_run: whether it is only told what would be done.
    :return: what was done, source by source.
    :raises SettingsError: if a name cannot be meant.
    :raises CheckpointConflictError: if somebody writes one of the sources.
    :raises StoreError: if Postgres fails; nothing was changed.
    """
    configured = [source["source"] for source in configured_sources(settings)]
    with RenamingStore(postgres_connection(settings), settings.raw_table, "cht_sync rename-source") as store:
        store.prepare()
        pairs = [pair for old, new in names.items() for pair in _pairs(store, old, new)]
        for old, new in pairs:
            _check(store, old, new, configured)
        if dry_run:
            return store.would_rename(pairs)
        done = store.rename(pairs)
    for each in done:
        log.warning("Renamed %s", each)
    return done


def _pairs(store: RenamingStore, old: str, new: str) -> list[tuple[str, str]]:
    if "/" in old or "/" in new:
        return [(old, new)]
    found = sorted(each for each in store.sources() if each.startswith(f"{old}/"))
    if not found:
        raise SettingsError(f"Postgres holds no source of {old!r}: give the host of one of {_named(store.sources())}.")
    return [(each, f"{new}{each.removeprefix(old)}") for each in found]


def _check(store: RenamingStore, old: str, new: str, configured: list[str]) -> None:
    if old in configured:
        raise SettingsError(
            f"Source {old!r} is configured still: take it out of the settings before it is renamed, or it would be"
            " copied again from its beginning."
        )
    if new not in configured:
        raise SettingsError(
            f"Source {new!r} is not configured, so that nobody would go on with it: set COUCHDB_HOST, the connection or"
            f" COUCHDB_DBS first, or give one of {_named(configured)}."
        )
    if not store.knows(old):
        raise SettingsError(f"Postgres holds no source {old!r}: give one of {_named(store.sources() - {*configured})}.")


def _named(sources: Any) -> str:
    return ", ".join(map(repr, sorted(sources))) or "none (nothing was copied yet)"
