"""One run of one source: from its checkpoint until all changes are read."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from cht_sync.couchdb.changes_feed import ChangesFeed
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.sources import source_order
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import RequestRefusedError, SettingsError
from cht_sync.settings.connections import postgres_connection
from cht_sync.store.copy_hold import CopyHold
from cht_sync.store.quarantine import fingerprint
from cht_sync.sync import database_identity
from cht_sync.sync.database_identity import check_not_emptied, says_when_made, sign_of_recreation, stays_behind
from cht_sync.sync.first_load import FirstLoad
from cht_sync.sync.older_documents import OlderRevisionCheck
from cht_sync.sync.rename_source import check_not_renamed
from cht_sync.sync.sweep import missing_documents, sweep

if TYPE_CHECKING:
    from cht_sync.couchdb.structs import DatabaseInfo
    from cht_sync.settings.settings import Settings
    from cht_sync.store.first_load_store import FirstLoadStore
    from cht_sync.sync.progress import Progress

A_FEW = 20
# Of a run for older revisions: each run goes on with those that have waited longest.
OLDER_S = 60.0
ASKED_BY_PEOPLE = ("retry_quarantine", "confirm_gone", "accept_older", "first_load")
log = logging.getLogger(__name__)


class SourceCopy:
    """Copies one CouchDB database to one source.

    :param params: of the DAG run, see :class:`cht_sync.operators.couchdb_to_postgres.CouchDBToPostgresOperator`.
    :param batch_size: changes in a page at most.
    :param budget: seconds after which each step leaves the rest to the next run.
    """

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        store: FirstLoadStore,
        progress: Progress,
        *,
        settings: Settings,
        params: Mapping[str, Any],
        batch_size: int,
        budget: float,
    ) -> None:
        self._hook, self._database, self._store, self._progress = hook, database, store, progress
        self._source, self._settings, self._params = progress.source, settings, params
        self._batch_size, self._budget, self._most_bytes = batch_size, budget, settings.max_page_bytes
        self._confirmed_gone = self._source in (params.get("confirm_gone") or [])
        self._newest_seq: str | None = None
        self._info: DatabaseInfo | None = None
        self._instance: str | None = None

    def run(self) -> str | None:
        """Copies until all changes are read or the budget is spent.

        :return: when the first load began that has ended and is to be compared; None where there is none.
        :raises SettingsError: if the database is missing, emptied or renamed and that is not confirmed, or may not be
            read; no document was written then.
        :raises CheckpointConflictError: if another writer has the source.
        """
        self._info = self._find_database()  # refuses a wrong password or name before anything is written
        for migration in self._store.prepare():
            log.info("Applied migration %s.", migration)
        if held := self._reason_to_wait():
            log.info("Nothing is copied in this run: %s.", held)
            return None
        self._claim()
        if self._info is None:
            self._store.restart(self._source, None)
            self._store.build_indexes()
            self._sweep(sure=True)
        else:
            self._copy(self._info)
        self._progress.log_summary()
        return self._store.unproven_load(self._source) if self._progress.drained else None

    def _copy(self, info: DatabaseInfo) -> None:
        self._check_same_database(info)
        if not self._load_first(info):
            return
        self._store.build_indexes()
        self._retry_quarantined()
        self._read_changes(info)
        if self._progress.drained:
            # In a cluster one answer does not prove that a document is gone.
            self._sweep(sure=self._confirmed_gone or info.has_one_copy)
        self._check_older_revisions(info)

    def load_is_proven(self, store: FirstLoadStore) -> None:
        """Notes that the comparison after a first load has ended; that of a cluster is asked for once more.

        :param store: another one: a repair claims the source for itself, so that this run's is closed.
        """
        if self._info and not self._info.has_one_copy:
            # A copy may have lagged in the load and in the comparison.
            reason = (
                f"{self._source} was loaded from a CouchDB cluster, of which a copy may have lagged: the next run of"
                " cht_reconcile compares all its documents once more."
            )
            log.info(reason)
            store.doubt(self._source, reason)
        store.load_is_proven(self._source)

    def _find_database(self) -> DatabaseInfo | None:
        """None where it is missing, and a person has confirmed that."""
        try:
            return self._hook.database(self._database)
        except RequestRefusedError as error:
            if error.status != 404:
                raise
            if not self._confirmed_gone:
                raise SettingsError(
                    f"{error} If it was dropped for good and its documents are to go from Postgres and the models"
                    f" too, trigger cht_sync with confirm_gone={json.dumps([self._source])}."
                ) from None
            return None

    def _reason_to_wait(self) -> str:
        # What a person has asked for by a param is done in any case.
        if any(self._params.get(name) for name in ASKED_BY_PEOPLE):
            return ""
        return CopyHold(postgres_connection(self._settings), self._settings.raw_table).reason()

    def _claim(self) -> None:
        order = source_order(self._settings)
        check_not_renamed(self._store, self._hook, self._database, self._source, order)
        if self._source in order:
            self._progress.rows += self._store.order_sources(order)
        self._store.claim(self._source)

    def _check_same_database(self, info: DatabaseInfo) -> None:
        """Finds out where the feed goes on; a database that was made again is read from its beginning."""
        if says_when_made(self._hook, info):
            self._instance = info.instance_start_time
        state = self._store.state(self._source)
        sign = sign_of_recreation(lambda: self._hook.database(self._database), info, self._instance, state)
        if not self._confirmed_gone:
            check_not_emptied(self._source, info, bool(sign), lambda: self._store.has_rows(self._source))
        if sign or (self._confirmed_gone and info.doc_count == 0):
            log.warning(
                "%s is another database than before: %s. It is read from its beginning; then documents that it does"
                " not hold are marked as deleted.",
                self._source, sign or "it was confirmed to be empty",
            )  # fmt: skip
            self._store.restart(self._source, self._instance)
        elif self._confirmed_gone:
            log.warning(
                "%s is in confirm_gone, but its database exists with %s documents: nothing is marked as deleted.",
                self._source, f"{info.doc_count:,}",
            )  # fmt: skip
        else:
            self._check_not_restored(info, state.seq)

    def _check_not_restored(self, info: DatabaseInfo, seq: str | None) -> None:
        """Notes a database that may have been restored from a backup, which keeps when it was made.

        Its rows are left alone: a proof compares all of them. Only where there is one copy is the number a sign.
        """
        if seq is None or not info.has_one_copy:
            return
        if stays_behind(lambda: self._hook.database(self._database), info, seq):
            reason = (
                f"{self._source} has lost changes that were copied before, as after a restored backup (its update_seq"
                " lies behind the checkpoint): the next run of cht_reconcile compares all its documents."
            )
            log.warning(reason)
            self._store.doubt(self._source, reason)
            self._newest_seq = self._hook.newest_seq(self._database)

    def _load_first(self, info: DatabaseInfo) -> bool:
        """Loads a large database that was never read, or goes on with that; whether the feed is to be read now.

        :raises SettingsError: if neither the listing of documents nor the feed may be read.
        """
        least = 0 if self._params.get("first_load") else self._settings.first_load_threshold or float("inf")
        if self._store.checkpoint(self._source) is not None:
            return True
        if info.doc_count < least and self._store.load_plan(self._source) is None:
            return True
        hooks = [CouchDBHook(self._hook.conn_id) for _ in range(self._settings.first_load_connections)]
        for hook in hooks:
            hook.get_conn()  # here, because only this thread may ask Airflow for a connection
        load = FirstLoad(
            hooks, self._database, self._store, self._progress, batch_size=self._batch_size, most_bytes=self._most_bytes
        )
        try:
            return load.run(info, self._instance, self._budget)
        except RequestRefusedError as error:
            # Who may read neither has another trouble, and a load that is under way goes on when that is over.
            self._hook.newest_seq(self._database)
            log.warning(
                "%s: the feed is read from its beginning, since documents cannot be listed: %s", self._source, error
            )
            self._store.give_up_load(self._source)
            return True

    def _retry_quarantined(self) -> None:
        """Fetches documents in quarantine again and tries to store them.

        By itself only those that CouchDB did not hand out, ten minutes ago or earlier, and up to the first that it does
        not hand out now; all of them with the param ``retry_quarantine``.
        """
        everything = bool(self._params.get("retry_quarantine"))
        after, begun, state = b"", time.monotonic(), self._store.state(self._source)
        fetcher = DocumentFetcher(self._hook, self._database, self._most_bytes)
        while found := self._store.quarantined(self._source, after, A_FEW, everything):
            # One by one: each may be as large as a page.
            for after, name, rev in found:
                if time.monotonic() - begun > self._budget:
                    text = "%s: time budget (%s s) used; the rest of the quarantine stays as it is."
                    log.info(text, self._source, self._budget)
                    return
                if fingerprint(name) != after:
                    continue  # Postgres can never hold such an _id as a key: it stands in the table as it is shown
                change = Change(id=name, changes=[Revision(rev)] if rev else [])
                refused = fetcher.newest([change])
                written = self._store.save_documents(self._source, [] if refused else [change], refused, state)
                self._progress.count(written)
                if refused and change.rev and not everything:
                    return  # the server has it and does not hand it out: each may cost a minute of patience

    def _read_changes(self, info: DatabaseInfo) -> None:
        since, progress = self._store.checkpoint(self._source), self._progress
        total = None if since else info.doc_count + (info.doc_del_count or 0)
        begun = time.monotonic()
        log.info("%s: reading changes %s.", self._source, "from the checkpoint" if since else "from the beginning")
        for page in ChangesFeed(self._hook, self._database, since, self._batch_size, self._most_bytes):
            written = self._store.save(self._source, page, since, self._instance)
            since = page.checkpoint
            progress.add(page, written, time.monotonic() - begun)
            if written.documents:
                log.info(progress.line(page, written, total))
            if progress.seconds > self._budget and not page.is_last:
                log.info("%s: time budget (%s s) used; the next run continues from here.", self._source, self._budget)
                break
        if self._newest_seq and since and progress.drained:
            # Else changes up to the number of the checkpoint would not come again.
            self._store.go_on_from(self._source, since, self._newest_seq)

    def _check_older_revisions(self, info: DatabaseInfo) -> None:
        """Asks again for documents of which CouchDB has named an older revision than Postgres holds, or none."""
        if not (waiting := self._store.count_older(self._source)):
            return
        # A person has said that CouchDB is right, or there is no other copy that could lag.
        at_once = self._source in (self._params.get("accept_older") or []) or info.has_one_copy
        if at_once:
            time.sleep(database_identity.SECOND_LOOK_S)
        patience = 60 * self._settings.older_after
        check = OlderRevisionCheck(
            self._hook, self._database, self._store, self._source,
            at_once=at_once, patience=patience, most_bytes=self._most_bytes,
        )  # fmt: skip
        try:
            for written in check.run(min(self._budget, OLDER_S)):
                self._progress.count(written)
        except RequestRefusedError as error:
            self._warn_of_refusal(error, f"{waiting:,} documents, of which CouchDB names older revisions or none, wait")
            return
        if waiting := self._store.count_older(self._source):
            log.warning(
                "%s: CouchDB names older revisions than PostgreSQL holds, or none, for %s documents: a copy that lags,"
                " or a restored backup. They are looked at again with each run, and stored if CouchDB keeps to them for"
                " CHT_OLDER_AFTER=%d minutes; trigger cht_sync with accept_older=%s to store them now. See"
                " couchdb_older_revision.",
                self._source, f"{waiting:,}", self._settings.older_after, json.dumps([self._source]),
            )  # fmt: skip

    def _sweep(self, *, sure: bool) -> None:
        """Makes tombstones of documents that a database made again does not hold."""

        def missing(names: list[str]) -> list[str]:
            return missing_documents(self._hook, self._database, self._source, names) if self._info else names

        try:
            for written in sweep(self._store, self._source, missing, self._budget, sure=sure):
                self._progress.count(written)
        except RequestRefusedError as error:
            self._warn_of_refusal(error, "the search for documents that a database made again does not hold waits")

    def _warn_of_refusal(self, error: RequestRefusedError, waits: str) -> None:
        """Tells of what only POST can ask; the copy itself can do without."""
        log.warning(
            "%s: POST to _bulk_get and _all_docs is refused with %d: %s until it is let through. Let a proxy pass it,"
            " or give the user of connection %r the right to read.",
            self._source, error.status, waits, self._hook.conn_id,
        )  # fmt: skip
