"""Cuts the documents of a database into ranges of ids."""

from __future__ import annotations

import logging
from collections import deque
from functools import partial
from typing import TYPE_CHECKING

from cht_sync.common.concurrency import Background
from cht_sync.errors import CouchDBError, RequestRefusedError

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook

Range = tuple[str | None, str | None]
# Ids that a server walks in a second or two.
STEP = 100_000
PATIENCE_S = 120.0
log = logging.getLogger(__name__)


def id_ranges(hook: CouchDBHook, database: str, size: int) -> list[Range]:
    """Ranges of about ``size`` documents, whose bounds the listing itself says.

    The server walks all ids for it, which takes a good part of the time of listing them.
    """
    bounds: list[str | None] = [None]
    while row := hook.listing(database, (bounds[-1], None), 1, skip=size):
        bounds.append(row[0].id)
    return _between(bounds)


def id_ranges_near(hook: CouchDBHook, database: str, guesses: list[str]) -> list[Range] | None:
    """Ranges that begin near some ids, for one question to the server each, which walks nothing.

    :param guesses: ids, in about the order of the server; there need not be such documents.
    :return: None where the server has nothing between two guesses, or orders them otherwise.
    """
    bounds: list[str | None] = [None]
    for guess, following in zip(guesses, [*guesses, None][1:], strict=True):
        try:
            # What lies before the next guess begins before whatever is found from there on: the ranges cannot overlap.
            row = hook.listing(database, (guess, following), 1)
        except RequestRefusedError:
            return None  # so CouchDB says that keys are in the wrong order
        if not row:
            return None
        bounds.append(row[0].id)
    return _between(bounds)


def _between(bounds: list[str | None]) -> list[Range]:
    return list(zip(bounds, [*bounds[1:], None], strict=True))


def id_ranges_side_by_side(hooks: list[CouchDBHook], database: str, size: int, documents: int) -> list[Range]:
    """The same found by halving, with several questions at once: for where each answer takes its time.

    It costs the server more: each halving walks half of all ids. Where something between cuts an answer that takes so
    long to begin, they are found by shorter walks, one after the other.
    """
    try:
        return _by_halving(hooks, database, size, documents)
    except CouchDBError as error:
        log.info("The ids of %r are walked in small steps, since large ones do not come through: %s", database, error)
    step = min(size, STEP)
    bounds = [first for first, _ in id_ranges(hooks[0], database, step)]
    return _between(bounds[:: max(1, size // step)])


def _by_halving(hooks: list[CouchDBHook], database: str, size: int, documents: int) -> list[Range]:
    pieces: list[tuple[Range, int]] = [((None, None), documents)]
    while any(count > size for _, count in pieces):
        halved: list[tuple[Range, int]] = []
        waiting: deque[tuple[Range, int, Background[str | None]]] = deque()
        try:
            for number, (keys, count) in enumerate(pieces):
                if len(waiting) == len(hooks):
                    halved += _halves(*waiting.popleft())
                middle = partial(_middle, hooks[number % len(hooks)], database, keys, count if count > size else 0)
                waiting.append((keys, count, Background(middle)))
            while waiting:
                halved += _halves(*waiting.popleft())
        finally:
            # Where one failed: a hook is for one thread at a time.
            for *_, middle_of in waiting:
                middle_of.wait(PATIENCE_S)
        pieces = halved
    return [keys for keys, _ in pieces]


def _middle(hook: CouchDBHook, database: str, keys: Range, count: int) -> str | None:
    """The ``_id`` in the middle of a range; None where it is not to be halved."""
    if count < 2:
        return None
    rows = hook.listing(database, keys, 1, skip=count // 2)
    return rows[0].id if rows else None


def _halves(keys: Range, count: int, middle: Background[str | None]) -> list[tuple[Range, int]]:
    found = middle.result()
    if found is None:
        # Small enough, or smaller by now than it was counted: it is not asked for again.
        return [(keys, 0)]
    return [((keys[0], found), count // 2), ((found, keys[1]), count - count // 2)]
