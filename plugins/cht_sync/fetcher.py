"""Fetches single documents that a page of changes did not bring."""

from __future__ import annotations

import logging
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING

import msgspec

from cht_sync.errors import CouchDBError
from cht_sync.page import MEGABYTE, Change, Page, Refused

if TYPE_CHECKING:
    from cht_sync.couchdb import CouchDBHook

IN_MEMORY = 8 * MEGABYTE
AT_A_TIME = 100
log = logging.getLogger(__name__)


class DocumentFetcher:
    """Reads documents of one database by id.

    :param hook: of the server.
    :param database: name of the database.
    :param most_bytes: size from which on a document is not read into memory.
    """

    def __init__(self, hook: CouchDBHook, database: str, most_bytes: int) -> None:
        self._hook, self._database, self._most = hook, database, most_bytes

    def complete(self, page: Page) -> None:
        """Fetches what came without a body though bodies were asked for; what does not come is held.

        :param page: of the feed; those documents leave its results for ``held``.
        :raises CouchDBError: if the server does not answer at all.
        """
        missing = [change for change in page.results if not change.has_document]
        if not missing:
            return
        log.warning("%d changes of %s came without a document; fetching them by id.", len(missing), self._database)
        refused = self.states_and_bodies(missing)
        held = {id(each.change) for each in refused}
        page.results = [change for change in page.results if id(change) not in held]
        page.held += refused

    def states_and_bodies(self, changes: list[Change]) -> list[Refused]:
        """Brings changes to the newest state of their documents, bodies included.

        :param changes: their ids say which documents; the rest is replaced.
        :return: those that could not be had.
        """
        refused = []
        for start in range(0, len(changes), AT_A_TIME):
            part = changes[start : start + AT_A_TIME]
            for change, state in zip(part, self._hook.states(self._database, [each.id for each in part]), strict=True):
                if state.rev is None:
                    said = _said(change) or _said(state) or "no error"
                    refused.append(Refused(change, f"CouchDB lists the document but has no body for it: {said}."))
                    continue
                change.changes, change.deleted = state.changes, state.deleted
                refused += [each for each in [self.body(change)] if each]
        return refused

    def body(self, change: Change) -> Refused | None:
        """Fetches the body of one revision.

        :param change: gets the body, where memory may hold it.
        :return: the document with its body as a file, or without a body, where it cannot be stored.
        """
        # Not closed here: whoever stores the page reads it, and it ends with the page.
        sink = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115
        try:
            self._hook.body(self._database, change, sink)
        except CouchDBError as error:
            return Refused(change, f"CouchDB does not hand the document out: {error}")
        size = sink.tell()
        sink.seek(0)
        if size > self._most:
            return Refused(
                change,
                f"The document has {size / MEGABYTE:,.1f} MB; CHT_SYNC_MAX_MB={self._most // MEGABYTE} allows no more.",
                body=sink,
            )
        change.doc = msgspec.Raw(sink.read())
        return None


def _said(change: Change) -> str:
    """What the server gave as error in place of a document; its own words, never a document."""
    return bytes(change.error)[:200].decode("utf-8", "replace")
