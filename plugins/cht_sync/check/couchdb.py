"""Whether each CouchDB server answers and hands out the feeds that are to be copied, under the names that they had."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from cht_sync.check.finding import Finding, clock_finding, failed, ok, warning
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.sources import Source, configured_sources
from cht_sync.errors import CouchDBError, RequestRefusedError, SettingsError, StoreError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.sync.rename_source import check_not_renamed

# Three tries all the same, so that a hiccup is no finding.
NO_TOLERANCE_S = 0.0


class QuietHook(CouchDBHook):
    """A hook that does not tell of each try: the finding says how they ended."""

    @property
    def log(self) -> Any:
        """A logger that says nothing."""
        silent = logging.getLogger("cht_sync.check.silent")
        silent.disabled = True
        return silent


def check_couchdb(settings: Settings) -> Iterator[Finding]:
    """Findings about each server and each of its databases."""
    sources: list[Source] = []
    try:
        sources = configured_sources(settings)
        yield ok("Sources", f"{', '.join(source['source'] for source in sources)}.")
    except SettingsError as error:
        yield failed("Sources", str(error))
    for conn_id in settings.couchdb_conn_ids:
        subject = f"CouchDB {conn_id}"
        try:
            hook = QuietHook(conn_id, tolerance=NO_TOLERANCE_S)
            works, text = hook.test_connection()
            if not works:
                yield failed(subject, text)
                continue
            user = hook.connection.login or "nobody"
            yield ok(subject, f"{_version(hook)} at {hook.url}, signed in as {user}.")
            yield check_clock(hook)
        except (SettingsError, CouchDBError) as error:
            yield failed(subject, str(error))
            continue
        for source in sources:
            if source["couchdb_conn_id"] == conn_id:
                yield check_feed(hook, source)


def _version(hook: CouchDBHook) -> str:
    try:
        return hook.server().version
    except (RequestRefusedError, CouchDBError):
        return "A server that keeps its version to itself"


def check_feed(hook: CouchDBHook, source: Source) -> Finding:
    """Whether the user may read a database's feed, asked for one change without its document."""
    subject = f"Source {source['source']}"
    try:
        hook.patiently(lambda: hook.changes(source["database"], None, 1, bodies=False))
        count = hook.database(source["database"]).doc_count
    except (SettingsError, CouchDBError) as error:
        return failed(subject, str(error))
    return ok(subject, f"its feed can be read; {count:,} documents.")


def check_clock(hook: CouchDBHook) -> Finding:
    """Compares the ``Date`` of an answer with this machine's clock."""
    subject = f"Clock of {hook.conn_id}"
    session, before = hook.get_conn(), datetime.now(UTC)
    try:
        answer = session.head(f"{hook.url}/", timeout=hook.timeouts, allow_redirects=False, verify=session.verify)
        theirs = parsedate_to_datetime(answer.headers.get("Date", "")).astimezone(UTC)
    except (requests.exceptions.RequestException, TypeError, ValueError):
        return warning(subject, "is not known, since the server or the proxy before it sends no date.")
    return clock_finding(subject, theirs, before, datetime.now(UTC))


def check_renamed(settings: Settings) -> Iterator[Finding]:
    """One finding for each source that a run would refuse; servers that do not answer are found by others."""
    try:
        sources = configured_sources(settings)
        order = [source["source"] for source in sources]
        with DocumentStore(postgres_connection(settings), settings.raw_table, "cht_sync check", tolerance=0) as store:
            store.sources()
            for source in sources:
                hook = QuietHook(source["couchdb_conn_id"], tolerance=NO_TOLERANCE_S)
                try:
                    check_not_renamed(store, hook, source["database"], source["source"], order)
                except RequestRefusedError:
                    continue  # its feed is checked elsewhere
                except SettingsError as error:
                    yield failed(f"Source {source['source']}", str(error))
    except (SettingsError, StoreError, CouchDBError):
        # Also where nothing was ever copied, so that there is no table to read.
        return
