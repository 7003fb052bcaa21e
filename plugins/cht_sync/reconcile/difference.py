"""What may be different between CouchDB and Postgres."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

MISSING, STALE, WRONGLY_ALIVE, ALTERED = "missing", "stale", "wrongly_alive", "altered"
KINDS = (MISSING, STALE, WRONGLY_ALIVE, ALTERED)


@dataclass(frozen=True, slots=True)
class Difference:
    """One document that Postgres does not hold as CouchDB does.

    :param kind: ``missing`` (not there, or a tombstone of what lives), ``stale`` (another revision),
        ``wrongly_alive`` (a row of what CouchDB has deleted or does not know) or ``altered`` (another content).
    :param rev: what CouchDB has; None where it does not know the document.
    """

    id: str
    kind: str
    rev: str | None
    stored: str | None


@dataclass(slots=True)
class Found:
    """Counts of a comparison.

    :param on_the_way: documents that differ only because their change waits in the feed, or goes on changing.
    :param restamped: rows that got a new ``saved_timestamp`` for the models.
    :param doubtful: differences of which one cannot say whether they are any, or that could not be repaired.
    """

    compared: int = 0
    on_the_way: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    repaired: int = 0
    restamped: int = 0
    doubtful: int = 0
    reasons: list[str] = field(default_factory=list)
    suspects: list[Difference] = field(default_factory=list)

    def count(self, differences: Iterable[Difference]) -> None:
        """Counts differences by kind."""
        self.kinds.update(each.kind for each in differences)

    def doubt(self, number: int, reason: str) -> None:
        """Notes that something cannot be told of documents, in one sentence without any content of them."""
        self.doubtful += number
        if reason not in self.reasons:
            self.reasons.append(reason)

    @property
    def differences(self) -> int:
        """Differences of any kind."""
        return self.kinds.total()

    @property
    def verdict(self) -> str:
        """``in doubt``, ``differs``, ``repaired`` or ``equal``."""
        if self.doubtful:
            return "in doubt"
        if self.differences > self.repaired:
            return "differs"
        return "repaired" if self.differences else "equal"
