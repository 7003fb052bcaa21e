"""Fetches single documents that a page of changes did not bring."""

from __future__ import annotations

import logging
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

import msgspec

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.decode import name_of
from cht_sync.couchdb.document_ids import storable
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.revisions import generation
from cht_sync.couchdb.structs import Change, Page, Refused
from cht_sync.errors import BrokenAnswerError, NotHandedOutError, RequestRefusedError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook

IN_MEMORY = 8 * MEGABYTE
AT_A_TIME = 100
# So many documents in a row whose answers break off are the fault of the server, or of what is between.
IN_A_ROW = 3
log = logging.getLogger(__name__)


class DocumentFetcher:
    """Reads documents of one database by id; those of more than ``most_bytes`` into a file."""

    def __init__(self, hook: CouchDBHook, database: str, most_bytes: int) -> None:
        self._hook, self._database, self._most = hook, database, most_bytes
        self._broken = 0

    def complete(self, page: Page, most_bytes: int) -> None:
        """Fetches what came without a body though bodies were asked for; what does not come goes to ``page.refused``.

        :param most_bytes: bytes to fetch into memory at most, save for a page of one document.
        :raises CouchDBError: if the server fails otherwise than for single documents.
        """
        missing = [change for change in page.results if not change.has_document]
        if not missing:
            self._broken = 0
            return
        log.warning("%d changes of %s came without a document; fetching them by id.", len(missing), self._database)
        for start in range(0, len(missing), AT_A_TIME):
            page.refused += self.newest(missing[start : start + AT_A_TIME])
            size = sum(len(change.doc) for change in missing)
            if size > most_bytes and len(page.results) > 1:
                raise PageTooLargeError(most_bytes)
        page.size += sum(len(change.doc) for change in missing)
        refused = {id(each.change) for each in page.refused}
        page.results = [change for change in page.results if id(change) not in refused]

    def odd(self, page: Page) -> None:
        """Takes documents whose ``_id`` Postgres cannot hold from the feed: by id they may come otherwise."""
        names = {change.id for change in page.results if not storable(change.id)}
        if not names:
            return
        found = self._hook.patiently(lambda: self._hook.changes_of(self._database, sorted(names)))
        page.results = [change for change in page.results if change.id not in names]
        page.results += [change for change in found.results if change.id in names]
        page.refused += [each for each in found.refused if each.change.id in names]

    def newest(self, changes: list[Change]) -> list[Refused]:
        """Brings changes to the newest state of their documents, with bodies; returns those without one."""
        refused = []
        for change, state in zip(changes, self._states(changes), strict=True):
            if _is_unclear(state):
                error = BrokenAnswerError(f"it does not say whether there is such a document ({_said(state)}).")
                refused.append(self._broke_off(change, error))
            elif state.rev is None:
                said = _said(change) or _said(state) or "no error"
                refused.append(Refused(change, f"CouchDB has no body of the document: {said}."))
            else:
                # A replica that lags names an older one than the feed did.
                if generation(state.rev) >= generation(change.rev):
                    change.changes, change.deleted = state.changes, state.deleted
                refused += filter(None, [self.body(change)])
        return refused

    def _states(self, changes: list[Change]) -> list[Change]:
        """The newest states, as far as the server says them within the tolerance."""
        states: list[Change] = []

        def once() -> None:
            states[:] = self._hook.states(self._database, [each.id for each in changes], patient=False)
            if any(map(_is_unclear, states)):
                raise BrokenAnswerError(f"CouchDB does not say of all documents of {self._database!r} what they are.")

        try:
            self._hook.patiently(once)
        except BrokenAnswerError:
            if not states:
                raise
        except RequestRefusedError as error:
            log.info("The listing is refused (%s); documents are asked for as the feed names them.", error)
            return list(changes)
        return states

    def body(self, change: Change) -> Refused | None:
        """Fetches the body of one revision; returns the document where it cannot be stored.

        :raises CouchDBError: if the server fails otherwise than for this document.
        """
        # Not closed here: whoever stores the page reads it, and it ends with the page.
        sink = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        try:
            self._hook.body(self._database, change, sink)
        except NotHandedOutError as error:
            return Refused(change, f"CouchDB does not hand the document out: {error}")
        except BrokenAnswerError as error:
            return self._broke_off(change, error)
        self._broken = 0
        size = sink.tell()
        sink.seek(0)
        if size > self._most:
            return Refused(
                change,
                f"The document has {size / MEGABYTE:,.1f} MB; CHT_SYNC_MAX_MB={self._most // MEGABYTE} allows no more.",
                body=sink,
            )
        return self.accept(change, sink.read())

    @staticmethod
    def accept(change: Change, body: bytes) -> Refused | None:
        """Takes a body for that of a document only where it says so itself; else returns the document."""
        try:
            name, rev, deleted = name_of(body)
        except ValueError:
            name, rev, deleted = "", None, False
        if name != change.id or (change.rev and rev != change.rev):
            return Refused(change, "CouchDB hands out something else than the document.", body=body)
        change.doc, change.deleted = msgspec.Raw(body), deleted
        return None

    def _broke_off(self, change: Change, error: BrokenAnswerError) -> Refused:
        # Where nothing of the database can be had it is not the document: a cluster has to have all shards for this.
        self._hook.database(self._database)
        self._broken += 1
        if self._broken > IN_A_ROW:
            raise BrokenAnswerError(
                f"CouchDB lists the changes of database {self._database!r} but hands out none of the last"
                f" {self._broken} documents ({error}): look at the server and at what is between; the next run goes on"
                " here."
            ) from None
        return Refused(change, f"CouchDB does not hand the document out: {error}")


def _is_unclear(state: Change) -> bool:
    """Whether a listing says neither which revision there is, nor that there is none."""
    return state.rev is None and bytes(state.error) not in {b"", b'"not_found"'}


def _said(change: Change) -> str:
    """What the server gave as error in place of a document; its own words, never a document."""
    return bytes(change.error)[:200].decode("utf-8", "replace")
