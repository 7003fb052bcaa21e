"""Checks again documents of which CouchDB has named an older revision than Postgres holds."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING

from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.document_fetcher import DocumentFetcher
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.revisions import Leaf, generation, is_older, knows, winner
from cht_sync.couchdb.structs import Change, Revision
from cht_sync.errors import BrokenAnswerError, CouchDBError, RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.couchdb.structs import Refused
    from cht_sync.store.document_store import DocumentStore
    from cht_sync.store.older_revisions import OlderRevision
    from cht_sync.store.page_writer import Written

AT_A_TIME = 50
# So often in a row, and with such a pause between, a cluster has to name the same: each check may be answered by
# another copy.
LOOKS = 5
PAUSE = timedelta(seconds=30)
log = logging.getLogger(__name__)


class OlderRevisionCheck:
    """Decides whether a row may go back to an older revision, or to a tombstone of a document that is gone.

    It may where the revision tree that CouchDB answers with holds the newer revision too: such a copy does not lag, the
    newer one was deleted in favour of the older. Where the tree does not know it, either the copy lags or a backup was
    restored; then CouchDB has to name the same again: at once where it keeps one copy of each document, else in several
    checks over some time, which no copy that lags stands as long as the copies reach each other.

    :param at_once: whether one check is enough, as where the server keeps each document once.
    :param patience: seconds for which a cluster has to name the same.
    """

    def __init__(
        self,
        hook: CouchDBHook,
        database: str,
        store: DocumentStore,
        source: str,
        *,
        at_once: bool,
        patience: float,
        most_bytes: int,
    ) -> None:
        self._hook, self._database, self._store, self._source = hook, database, store, source
        self._at_once, self._patience, self._most_bytes = at_once, timedelta(seconds=patience), most_bytes
        self._fetcher = DocumentFetcher(hook, database, most_bytes)

    def run(self, budget: float) -> Iterator[Written]:
        """Checks all that wait.

        :param budget: seconds after which the rest is left to the next run.
        :raises RequestRefusedError: if it may be asked neither by ``_bulk_get`` nor by ``_all_docs``.
        """
        begun, pause = time.monotonic(), timedelta() if self._at_once else PAUSE
        left = self._store.count_older(self._source)  # each once in a run
        while (
            left > 0
            and time.monotonic() - begun < budget
            and (found := self._store.older_revisions(self._source, min(left, AT_A_TIME), pause))
        ):
            left -= len(found)
            trees = self._trees([each.id for each in found])
            yield from self._decide([(each, trees[each.id]) for each in found if each.id in trees])

    def _trees(self, ids: list[str]) -> dict[str, list[Leaf]]:
        """Revision trees by ``_id``, of the documents that the server knows."""
        try:
            trees = self._hook.leaves(self._database, ids, self._most_bytes)
            return trees | self._rest([each for each in ids if each not in trees])
        except (PageTooLargeError, BrokenAnswerError):
            half = len(ids) // 2
            return {**self._trees(ids[:half]), **self._trees(ids[half:])} if half else self._bare(ids)
        except RequestRefusedError:
            # Who may read nothing at all is refused this, too.
            return self._bare(ids)

    def _rest(self, ids: list[str]) -> dict[str, list[Leaf]]:
        """The winning revisions of documents without a tree."""
        try:
            return self._bare(ids)
        except RequestRefusedError as error:
            log.warning("%s: some older revisions cannot be looked at: %s", self._source, error)
            return {}

    def _bare(self, ids: list[str]) -> dict[str, list[Leaf]]:
        """The winning revisions alone, where trees cannot be had."""
        said = self._hook.states(self._database, ids) if ids else []
        states = [each for each in said if each.rev or _is_not_found(each)]
        return {each.id: [Leaf(each.rev, each.deleted, frozenset({each.rev}))] if each.rev else [] for each in states}

    def _decide(self, found: list[tuple[OlderRevision, list[Leaf]]]) -> Iterator[Written]:
        newer, older, waiting = [], [], {}
        for each, leaves in found:
            best = winner(leaves)
            if best and not is_older(best.rev, each.held) and not _is_old_end(each, best):
                newer.append(_Decision(each, best))
            elif best and knows(leaves, {each.held, *each.known}):
                older.append(_Decision(each, best, _newest_first(leaf.rev for leaf in leaves)))
            elif self._has_waited(each, best.rev if best else None):
                older.append(_Decision(each, best, None if best else []))
            else:
                waiting[each.key] = best.rev if best else None
        if waiting:
            self._store.note_claimed(self._source, waiting)
        for decisions, sure in ((newer, False), (older, True)):
            if decisions:
                yield from self._put(decisions, sure)

    def _has_waited(self, each: OlderRevision, rev: str | None) -> bool:
        if each.claimed != rev:
            return False
        return self._at_once or (each.looks + 1 >= LOOKS and each.since >= self._patience)

    def _put(self, decisions: list[_Decision], sure: bool) -> Iterator[Written]:
        """Stores documents together where memory holds them, else one by one."""
        changes = [each.change for each in decisions if not each.is_gone]
        try:
            bodies = self._hook.revisions(self._database, changes, self._most_bytes) if len(changes) > 1 else {}
        except (PageTooLargeError, RequestRefusedError, CouchDBError):
            for each in decisions:
                yield self._put_these([each], {}, sure)
        else:
            yield self._put_these(decisions, bodies, sure)

    def _put_these(self, decisions: list[_Decision], bodies: dict[str, bytes], sure: bool) -> Written:
        """Stores documents as CouchDB has them, and notes the trees that older ones were stored with."""
        state = self._store.state(self._source)
        refused = self._complete([each.change for each in decisions if not each.is_gone], bodies)
        # What this copy does not hand out the next run asks for again.
        lost = {each.change.id for each in refused if not each.body}
        refused = [each for each in refused if each.body]
        bad = lost | {each.change.id for each in refused}
        done = [each for each in decisions if each.change.id not in lost]
        if sure and (restored := sum(not each.known for each in done)):
            log.warning("%s: CouchDB keeps to older revisions of %d documents: stored.", self._source, restored)

        def note(cursor: Cursor, written: Written) -> None:  # noqa: ARG001 - what was stored does not matter here
            for each in done:
                if each.known is not None:
                    self._store.older.settle(cursor, self._source, each.of.key, each.known)
            others = [each.of.key for each in done if each.known is None]
            self._store.older.drop(cursor, self._source, others if sure else [])

        changes = [each.change for each in decisions if each.change.id not in bad]
        return self._store.save_documents(self._source, changes, refused, state, note, sure=sure)

    def _complete(self, changes: list[Change], bodies: dict[str, bytes]) -> list[Refused]:
        """Gives changes the bodies of their revisions, fetched where they are not there; those that cannot be had."""
        refused = []
        for change in changes:
            body = bodies.get(change.id)
            if (body is None or self._fetcher.accept(change, body)) and (each := self._fetcher.body(change)):
                refused.append(each)
        return refused


class _Decision:
    """What is to be stored of a document.

    :param best: the end of its tree that CouchDB takes for it; None where there is no such document.
    :param known: all ends of its tree, where they are to be kept in mind.
    """

    def __init__(self, of: OlderRevision, best: Leaf | None, known: list[str] | None = None) -> None:
        self.of, self.known, self.is_gone = of, known, best is None
        rev, deleted = (best.rev, best.deleted) if best else (of.held, True)
        self.change = Change(of.id, [Revision(rev)], deleted)


def _newest_first(revisions: Iterable[str]) -> list[str]:
    return sorted(revisions, key=lambda rev: (generation(rev), rev), reverse=True)


def _is_not_found(state: Change) -> bool:
    return bytes(state.error) == b'"not_found"'


def _is_old_end(each: OlderRevision, best: Leaf) -> bool:
    """Whether an older revision was stored before although this one was there: then it is not newer than the row."""
    return bool(each.known) and not is_older(each.known[0], best.rev)
