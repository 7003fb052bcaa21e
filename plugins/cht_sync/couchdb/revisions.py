"""Revisions of documents: their order, and the tree of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# The order of CouchDB among revisions that are deleted alike, in SQL: the generation, then the hash.
# Source: https://docs.couchdb.org/en/stable/replication/conflicts.html
SQL_ORDER = "(length(split_part({0}, '-', 1)), {0} collate \"C\")"


# Digits of a number; no revision has more.
LONGEST = 20


@dataclass(frozen=True, slots=True)
class Leaf:
    """One end of a document's revision tree; ``ancestors`` are itself and what it comes from, as far as known."""

    rev: str
    deleted: bool
    ancestors: frozenset[str]


def generation(rev: str | None) -> int:
    """The number that a revision begins with; 0 where there is none."""
    number = (rev or "").partition("-")[0]
    return int(number) if number.isascii() and number.isdigit() and len(number) < LONGEST else 0


def is_older(rev: str, than: str) -> bool:
    """Whether a revision comes before another one in the order of CouchDB."""
    return (generation(rev), rev) < (generation(than), than)


def winner(leaves: Iterable[Leaf]) -> Leaf | None:
    """The end that CouchDB takes for the document: one that is not deleted, then the newest."""
    return max(leaves, key=lambda leaf: (not leaf.deleted, generation(leaf.rev), leaf.rev), default=None)


def knows(leaves: Iterable[Leaf], revisions: Iterable[str]) -> bool:
    """Whether a tree holds revisions, be they ends of it or not."""
    known = frozenset[str]().union(*(leaf.ancestors for leaf in leaves))
    return known.issuperset(revisions)
