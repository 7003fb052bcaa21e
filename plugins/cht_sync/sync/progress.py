"""What a run has done for one source so far."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.structs import Page
from cht_sync.store.page_writer import Written

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Progress:
    """Counts of a run for one source; its fields are the XCom summary."""

    source: str
    documents: int = 0
    tombstones: int = 0
    rows: int = 0
    quarantined: int = 0
    collisions: int = 0
    resolved: int = 0
    older: int = 0
    pages: int = 0
    bytes: int = 0
    seconds: float = 0.0
    pending: int | None = None
    drained: bool = False
    reasons: dict[str, int] = field(default_factory=dict)

    def count(self, written: Written) -> None:
        """Counts documents that were written."""
        for name in ("documents", "tombstones", "rows", "quarantined", "collisions", "resolved", "older"):
            setattr(self, name, getattr(self, name) + getattr(written, name))
        self.reasons = dict(Counter(self.reasons) + Counter(written.reasons))

    def add(self, page: Page, written: Written, seconds: float) -> None:
        """Counts a page that was stored."""
        self.count(written)
        self.pages += 1
        self.bytes += page.size
        self.seconds = round(seconds, 3)
        self.drained = page.is_last
        self.pending = 0 if page.is_last else page.pending

    def line(self, page: Page, written: Written, total: int | None) -> str:
        """The log line of the page just added.

        :param total: documents to copy in all, where the copy began at the beginning; for servers that do not
            count what is pending.
        """
        rate = self.documents / self.seconds if self.seconds else 0.0
        rest = self.pending if self.pending is not None or total is None else max(total - self.documents, 0)
        pending = "unknown" if rest is None else f"{rest:,}"
        left = f", about {_duration(rest / rate)} left" if rest and rate else ""
        return (
            f"{self.source}: page {self.pages}: {written.documents:,} documents ({written.tombstones:,} deleted),"
            f" {page.size / MEGABYTE:.1f} MB, {rate:,.0f} documents/s, pending: {pending}{left}"
        )

    def log_summary(self) -> None:
        """Sums up, and warns of what a person should look at."""
        state = "all changes read" if self.drained else "changes left"
        log.info(
            "%s: %s; %s documents (%s rows changed) in %s pages, %.1f s.",
            self.source, state, f"{self.documents:,}", f"{self.rows:,}", f"{self.pages:,}", self.seconds,
        )  # fmt: skip
        if self.quarantined:
            reasons = ", ".join(f"{code}: {number:,}" for code, number in sorted(self.reasons.items()))
            log.warning(
                "%s: %s documents could not be stored and are in couchdb_quarantine with the reason (%s); nothing else"
                " waits for them.",
                self.source, f"{self.quarantined:,}", reasons,
            )  # fmt: skip
        if self.resolved:
            log.info("%s: %s documents left the quarantine.", self.source, f"{self.resolved:,}")
        if self.collisions:
            log.warning(
                "%s: %s documents have an _id that belongs to another source and are in couchdb_collision.",
                self.source, f"{self.collisions:,}",
            )  # fmt: skip


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
