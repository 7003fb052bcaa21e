"""A server with a new name: found out before anything is written, and renamed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cht_sync.couchdb.sources import configured_sources
from cht_sync.errors import SettingsError
from cht_sync.settings.connections import postgres_connection
from cht_sync.store.renaming import Renamed, RenamingStore

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.settings.settings import Settings
    from cht_sync.store.document_store import DocumentStore

SAMPLE = 1000
# Fewer documents may be those that every deployment has.
LEAST, SHARE = 20, 0.9
log = logging.getLogger(__name__)


def check_not_renamed(store: DocumentStore, hook: CouchDBHook, database: str, source: str, order: list[str]) -> None:
    """Refuses a source that was never read, with the documents of one that is configured no more."""
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
    # Another database of the server may hold them too, as one that was replicated: the one of that name is meant.
    host, name = old.rsplit("/", 1)
    new_host = source.rsplit("/", 1)[0]
    new = namesake if (namesake := f"{new_host}/{name}") in order else source
    whole = f" (`rename-source {host} {new_host}` for all its databases)" if new == namesake else ""
    raise SettingsError(
        f"{number:,} of the first {len(seen):,} documents of {source} belong to {old}, which is configured no more:"
        f" nothing was written. If the server has a new name, run `python -m cht_sync rename-source {old} {new}`"
        f"{whole}, or trigger cht_sync with rename_source={json.dumps({old: new})}, or keep the old name as 'instance':"
        f" {json.dumps(host)} in the extra of connection {hook.conn_id!r}; if it is another server and"
        f" the documents of the old one are to go, trigger cht_sync with confirm_gone={json.dumps([old])}."
    )


def rename_sources(
    settings: Settings, names: Mapping[str, str], dry_run: bool = False, repeated: bool = False
) -> list[Renamed]:
    """Renames sources in Postgres, all of them or none.

    :param settings: the environment; the new names have to be configured, the old ones not any more.
    :param names: old and new names: ``<host>/<database>``, or the host alone for all its databases.
    :param repeated: whether it may have been done before, as in a task that is tried again: then it is no error where
        Postgres holds the new name and no more the old one.
    """
    configured = [source["source"] for source in configured_sources(settings)]
    with RenamingStore(postgres_connection(settings), settings.raw_table, "cht_sync rename-source") as store:
        store.prepare()
        pairs = [
            pair
            for old, new in names.items()
            if not (repeated and _is_done(store, old, new, configured))
            for pair in _pairs(store, old, new, configured)
        ]
        for old, new in pairs:
            _check(store, old, new, configured)
        if dry_run:
            return store.would_rename(pairs)
        done = store.rename(pairs) if pairs else []
    for each in done:
        log.warning("Renamed %s", each)
    return done


def _is_done(store: RenamingStore, old: str, new: str, configured: list[str]) -> bool:
    """Whether sources, or all of a host that are meant, have their new name already."""
    if _are_hosts(old, new):
        wanted = [each for each in configured if each.startswith(f"{new}/")]
        before = [f"{old}{each.removeprefix(new)}" for each in wanted]
    else:
        wanted, before = [new] if new in configured else [], [old]
    done = any(map(store.knows, wanted)) and not any(map(store.knows, before))
    if done:
        log.warning("Postgres holds nothing of %s, and %s is there: it is renamed already.", old, new)
    return done


def _pairs(store: RenamingStore, old: str, new: str, configured: list[str]) -> list[tuple[str, str]]:
    if not _are_hosts(old, new):
        return [(old, new)]
    found = sorted(each for each in store.sources() if each.startswith(f"{old}/"))
    if not found:
        raise SettingsError(f"Postgres holds no source of {old!r}: give the host of one of {_named(store.sources())}.")
    pairs = [(each, f"{new}{each.removeprefix(old)}") for each in found]
    meant = [pair for pair in pairs if pair[1] in configured]
    for name, wanted in pairs if meant else []:
        if wanted not in configured:
            log.warning(
                "Source %s keeps its name, for %s is not configured. If its documents are to go, trigger cht_sync with"
                " confirm_gone=%s.",
                name, wanted, json.dumps([name]),
            )  # fmt: skip
    return meant or pairs


def _are_hosts(old: str, new: str) -> bool:
    return "/" not in old and "/" not in new


def _check(store: RenamingStore, old: str, new: str, configured: list[str]) -> None:
    if old in configured:
        raise SettingsError(
            f"Source {old!r} is configured still: take it out of the settings before it is renamed, or it would be"
            " copied again from its beginning."
        )
    if new not in configured:
        raise SettingsError(
            f"Source {new!r} is not configured, so that no run would continue it: set COUCHDB_HOST, the connection or"
            f" COUCHDB_DBS first, or give one of {_named(configured)}."
        )
    host, name = new.rsplit("/", 1)[0], old.rsplit("/", 1)[-1]
    # A database may have a new name as well, but two of them must not become one.
    if name != new.rsplit("/", 1)[-1] and (f"{host}/{name}" in configured or store.knows(new)):
        raise SettingsError(
            f"Sources {old!r} and {new!r} are databases of different names, whose documents would become one: give"
            f" {old!r} the name {f'{host}/{name}'!r}, and have that copied; or, if its documents are to go, trigger"
            f" cht_sync with confirm_gone={json.dumps([old])}."
        )
    if not store.knows(old):
        raise SettingsError(f"Postgres holds no source {old!r}: give one of {_named(store.sources() - {*configured})}.")


def _named(sources: Any) -> str:
    return ", ".join(map(repr, sorted(sources))) or "none (nothing was copied yet)"
