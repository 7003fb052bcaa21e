"""What a run has done for one source so far."""

from __future__ import annotations

from dataclasses import dataclass, field

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.structs import Page
from cht_sync.store.page_writer import Written


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
        """Counts documents that were written.

        :param written: what the store said of them.
        """
        for name in ("documents", "tombstones", "rows", "quarantined", "collisions", "resolved", "older"):
            setattr(self, name, getattr(self, name) + getattr(written, name))
        for code, number in written.reasons.items():
            self.reasons[code] = self.reasons.get(code, 0) + number

    def add(self, page: Page, written: Written, seconds: float) -> None:
        """Counts a page that was stored.

        :param page: the page.
        :param written: what the store said of it.
        :param seconds: time since the run began.
        """
        self.count(written)
        self.pages += 1
        self.bytes += page.size
        self.seconds = round(seconds, 3)
        self.drained = page.is_last
        self.pending = 0 if page.is_last else page.pending

    def line(self, page: Page, written: Written, total: int | None) -> str:
        """The log line of the page just added.

        :param page: the page.
        :param written: what the store said of it.
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

    def summary(self) -> str:
        """The last log line of the run."""
        state = "all changes read" if self.drained else "changes left"
        return (
            f"{self.source}: {state}; {self.documents:,} documents ({self.rows:,} rows changed) in {self.pages:,}"
            f" pages, {self.seconds:.1f} s."
        )


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
