"""One run of one source: from its checkpoint until all changes are read."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from cht_sync.couchdb.changes_feed import ChangesFeed
from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import CouchDBError, RequestRefusedError, SettingsError
from cht_sync.store.quarantine import fingerprint
from cht_sync.sync import database_identity
from cht_sync.sync.database_identity import check_not_emptied, says_when_made, sign_of_recreation, stays_behind
from cht_sync.sync.older_documents import OlderLook
from cht_sync.sync.sweep import sweep

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import DatabaseInfo
    from cht_sync.store.document_store import DocumentStore
    from cht_sync.store.first_load_store import FirstLoadStore
    from cht_sync.sync.first_load import FirstLoad
    from cht_sync.sync.progress import Progress

A_FEW = 20
# Of a run for older revisions: each run goes on with those that have waited longest.
LOOK_S = 60.0
log = logging.getLogger(__name__)


class SourceCopy:
    """Copies one CouchDB database to one claimed source.

    :param hook: of the server.
    :param database: name of the database.
    :param store: where the documents go.
    :param progress: is kept up to date.
    :param most_bytes: bytes read into memory at most, of a page or a document.
    :param older_after: seconds after which an older revision is stored to which a cluster keeps.
    """

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        store: FirstLoadStore,
        progress: Progress,
        *,
        most_bytes: int,
        older_after: float,
    ) -> None:
        self._hook, self._database, self._store, self._progress = hook, database, store, progress
        self._source, self._most_bytes, self._older_after = progress.source, most_bytes, older_after
        self._confirmed_gone = False
        self._newest_seq: str | None = None
        self._info: DatabaseInfo | None = None
        self._instance: str | None = None

    def look(self, confirmed_gone: bool) -> None:
        """Asks CouchDB for the database, before anything is written.

        :param confirmed_gone: whether a person has confirmed that the database is gone or empty.
        :raises SettingsError: if it is missing, and that is not confirmed, or may not be read.
        """
        try:
            self._info = self._hook.database(self._database)
        except RequestRefusedError as error:
            if error.status != 404:
                raise
            if not confirmed_gone:
                raise SettingsError(
                    f"{error} If it was dropped for good and its documents are to go from Postgres and the models"
                    f" too, trigger cht_sync with confirm_gone={json.dumps([self._source])}."
                ) from None

    def start(self, confirmed_gone: bool) -> None:
        """Finds out where the feed goes on; a database that was made again is read from its beginning.

        :param confirmed_gone: whether a person has confirmed that the database is gone or empty.
        :raises SettingsError: if the database was emptied, and that is not confirmed.
        """
        self._confirmed_gone = confirmed_gone
        if self._info is None:
            self._store.restart(self._source, None)
            return
        if says_when_made(self._hook, self._info):
            self._instance = self._info.instance_start_time
        state = self._store.state(self._source)
        sign = sign_of_recreation(lambda: self._hook.database(self._database), self._info, self._instance, state)
        if not confirmed_gone:
            check_not_emptied(self._source, self._info, bool(sign), lambda: self._store.has_rows(self._source))
        if sign or (confirmed_gone and self._info.doc_count == 0):
            log.warning(
                "%s is another database than before: %s. It is read from its beginning; then documents that it does"
                " not hold are marked as deleted.",
                self._source,
                sign or "it was confirmed to be empty",
            )
            self._store.restart(self._source, self._instance)
        elif confirmed_gone:
            log.warning(
                "%s is in confirm_gone, but its database exists with %s documents: nothing is marked as deleted.",
                self._source,
                f"{self._info.doc_count:,}",
            )
        else:
            self._doubt(self._info, state.seq)

    def _doubt(self, info: DatabaseInfo, seq: str | None) -> None:
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

    def load_first(self, load: Callable[[], FirstLoad], least: float, budget: float) -> bool:
        """Loads a large database that was never read, or goes on with that; any other is left to the feed.

        :param load: gives what does it.
        :param least: documents from which on a database is large.
        :param budget: seconds.
        :return: whether the feed is to be followed now.
        :raises SettingsError: if neither the listing of documents nor the feed may be read.
        """
        if self._info is None or self._store.checkpoint(self._source) is not None:
            return True
        if self._info.doc_count < least and self._store.load_plan(self._source) is None:
            return True
        try:
            return load().run(self._info, self._instance, budget)
        except RequestRefusedError as error:
            # Who may read neither has another trouble, and a load that is under way goes on when that is over.
            self._hook.newest_seq(self._database)
            log.warning(
                "%s: the feed is read from its beginning, since documents cannot be listed: %s", self._source, error
            )
            self._store.give_up_load(self._source)
            return True

    def doubt_load(self, store: DocumentStore) -> None:
        """Asks for another proof of a first load, where copies of a cluster may have lagged in the load and its proof.

        :param store: where the documents are.
        """
        if self._info and not self._info.has_one_copy:
            reason = (
                f"{self._source} was loaded from a CouchDB cluster, of which a copy may have lagged: the next run of"
                " cht_reconcile compares all its documents once more."
            )
            log.info(reason)
            store.doubt(self._source, reason)

    def retry_quarantined(self, everything: bool, budget: float) -> None:
        """Fetches documents in quarantine again and tries to store them.

        :param everything: all of them; else only those that CouchDB did not hand out, ten minutes ago or
            earlier, and up to the first that it does not hand out now.
        :param budget: seconds.
        """
        if self._info is None:
            return
        after, begun, state = b"", time.monotonic(), self._store.state(self._source)
        fetcher = DocumentFetcher(self._hook, self._database, self._most_bytes)
        while found := self._store.quarantined(self._source, after, A_FEW, everything):
            # One by one: each may be as large as a page.
            for after, name, rev in found:
                if time.monotonic() - begun > budget:
                    log.info(
                        "%s: time budget (%s s) used; the rest of the quarantine stays as it is.", self._source, budget
                    )
                    return
                if not _can_be_stored(name, after):
                    continue
                change = Change(id=name, changes=[Revision(rev)] if rev else [])
                refused = fetcher.newest([change])
                self._progress.count(self._store.put(self._source, [] if refused else [change], refused, state))
                if refused and change.rev and not everything:
                    return  # the server has it and does not hand it out: each may cost a minute of patience

    def drain(self, batch_size: int, budget: float) -> None:
        """Copies pages until the feed is drained or the budget is spent.

        :param batch_size: changes in a page at most.
        :param budget: seconds.
        """
        if self._info is None:
            return
        since, progress = self._store.checkpoint(self._source), self._progress
        total = None if since else self._info.doc_count + (self._info.doc_del_count or 0)
        begun = time.monotonic()
        log.info("%s: reading changes %s.", self._source, "from the checkpoint" if since else "from the beginning")
        for page in ChangesFeed(self._hook, self._database, since, batch_size, self._most_bytes):
            written = self._store.save(self._source, page, since, self._instance)
            since = page.checkpoint
            progress.add(page, written, time.monotonic() - begun)
            if written.documents:
                log.info(progress.line(page, written, total))
            if progress.seconds > budget and not page.is_last:
                log.info("%s: time budget (%s s) used; the next run continues from here.", self._source, budget)
                break
        if self._newest_seq and since and progress.drained:
            # Else changes up to the number of the checkpoint would not be told of again.
            self._store.go_on_from(self._source, since, self._newest_seq)

    def look_at_older(self, accept: bool, budget: float) -> None:
        """Looks again at documents of which CouchDB has named an older revision than Postgres holds, or none.

        :param accept: whether a person has said that CouchDB is right.
        :param budget: seconds.
        """
        if self._info is None or not (waiting := self._store.count_older(self._source)):
            return
        at_once = accept or self._info.has_one_copy
        if at_once:
            time.sleep(database_identity.SECOND_LOOK_S)
        look = OlderLook(
            self._hook,
            self._database,
            self._store,
            self._source,
            at_once=at_once,
            patience=self._older_after,
            most_bytes=self._most_bytes,
        )
        try:
            for written in look.run(min(budget, LOOK_S)):
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
                self._source, f"{waiting:,}", self._older_after // 60, json.dumps([self._source]),
            )  # fmt: skip

    def sweep(self, budget: float) -> None:
        """Once the feed is drained, makes tombstones of documents that a database made again does not hold.

        :param budget: seconds.
        """
        if self._info is None or self._progress.drained:
            # Of a cluster no single answer tells that a document is not there.
            sure = self._info is None or self._confirmed_gone or self._info.has_one_copy
            try:
                for written in sweep(self._store, self._source, self._missing, budget, sure=sure):
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

    def _missing(self, names: list[str]) -> list[str]:
        if self._info is None:
            return names
        missing = self._without_revision(names)
        if missing:
            # A replica that lags may not know yet what is there.
            time.sleep(database_identity.SECOND_LOOK_S)
            missing = self._without_revision([state.id for state in missing])
        if unclear := [state for state in missing if bytes(state.error) != b'"not_found"']:
            raise CouchDBError(
                f"CouchDB does not say whether {len(unclear)} documents of {self._source} exist"
                f" ({bytes(unclear[0].error)[:200].decode(errors='replace')}); the search for deleted ones goes on with"
                " the next run."
            )
        return [state.id for state in missing]

    def _without_revision(self, names: list[str]) -> list[Change]:
        return [state for state in self._hook.states(self._database, names) if state.rev is None]

    def tell(self) -> None:
        """Sums up, and warns of what a person should look at."""
        progress = self._progress
        log.info(progress.summary())
        if progress.quarantined:
            reasons = ", ".join(f"{code}: {number:,}" for code, number in sorted(progress.reasons.items()))
            log.warning(
                "%s: %s documents could not be stored and are in couchdb_quarantine with the reason (%s); nothing else"
                " waits for them.",
                self._source,
                f"{progress.quarantined:,}",
                reasons,
            )
        if progress.resolved:
            log.info("%s: %s documents left the quarantine.", self._source, f"{progress.resolved:,}")
        if progress.collisions:
            log.warning(
                "%s: %s documents have an _id that belongs to another source and are in couchdb_collision.",
                self._source,
                f"{progress.collisions:,}",
            )


def _can_be_stored(name: str, key: bytes) -> bool:
    """Whether the ``_id`` stands in the table as it is; else Postgres can never hold it as a key."""
    return fingerprint(name) == key
