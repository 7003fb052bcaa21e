"""How many documents of each kind a generated deployment has, and who belongs to whom."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from hashlib import blake2b
from random import Random
from typing import Any

from include.demo.errors import DemoError

DEFAULT_NOW = datetime(2025, 6, 30, 12, 0, tzinfo=UTC)
SMALLEST = 100
DAY = 86_400_000
# Parts of all documents; every contact and report brings an info document of the same number with it, and reports
# are what is left.
SHARES = {
    "health_center": 0.004, "clinic": 0.03, "person": 0.105, "user": 0.005, "task": 0.08, "target": 0.015,
    "telemetry": 0.03, "feedback": 0.02, "purgelog": 0.002,
}  # fmt: skip
WITH_INFO = ("district", "health_center", "clinic", "person", "report")


@dataclass(frozen=True)
class Plan:
    """The size and the seed of a deployment, from which every document follows without a look at the others."""

    documents: int = 20_000
    seed: int = 1
    now: datetime = DEFAULT_NOW
    malformed: float = 0.002
    fixed: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        """Refuse what makes no deployment."""
        if self.documents < SMALLEST:
            raise DemoError(f"documents is {self.documents}: a deployment needs at least {SMALLEST}.")
        if not 0 <= self.malformed <= 1:
            raise DemoError(f"malformed is {self.malformed}: give a share between 0 and 1.")

    @cached_property
    def counts(self) -> dict[str, int]:
        """Documents of each kind; with the fixed and the info documents they make up `documents`."""
        counts = {"district": 1 + self.documents // 5_000}
        counts |= {kind: max(2, round(share * self.documents)) for kind, share in SHARES.items()}
        contacts = sum(counts[kind] for kind in WITH_INFO if kind in counts)
        others = sum(counts.values()) - contacts
        left = self.documents - self.fixed - others - 2 * contacts
        counts["report"] = left // 2
        # An odd document left over cannot be a report, which comes with its info document.
        counts["feedback"] += left % 2
        return counts

    @property
    def now_ms(self) -> int:
        """The time of the newest documents, in milliseconds since 1970."""
        return int(self.now.timestamp() * 1000)

    def uuid(self, kind: str, index: int) -> str:
        """Return the id of a document: 36 characters like a random UUID, the same for the same seed."""
        digest = blake2b(f"{self.seed}/{kind}/{index}".encode(), digest_size=16).hexdigest()
        return f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-a{digest[17:20]}-{digest[20:]}"

    def random(self, kind: str, index: int) -> Random:
        """Return the random numbers of one document, independent of all others."""
        return Random(f"{self.seed}/{kind}/{index}")

    def parent(self, kind: str, index: int) -> tuple[str, int] | None:
        """Return kind and index of the place above a contact, None for a district."""
        if kind == "person":
            # Most people live in a household, every tenth is staff or patient of a health center.
            above = "health_center" if index % 10 == 0 else "clinic"
        elif kind in ("clinic", "health_center"):
            above = {"clinic": "health_center", "health_center": "district"}[kind]
        else:
            return None
        return above, (index // 10 if kind == "person" and index % 10 == 0 else index) % self.counts[above]

    def lineage(self, kind: str, index: int) -> dict[str, Any] | None:
        """Return the `parent` of a contact as CHT stores it: ids only, nested up to the district."""
        above = self.parent(kind, index)
        if above is None:
            return None
        higher = self.lineage(*above)
        return {"_id": self.uuid(*above)} | ({"parent": higher} if higher else {})

    def contact(self, kind: str, index: int) -> dict[str, Any]:
        """Return a contact as other documents refer to it: id and lineage."""
        above = self.lineage(kind, index)
        return {"_id": self.uuid(kind, index)} | ({"parent": above} if above else {})

    def malformation(self, kind: str, index: int) -> int | None:
        """Return which malformation a document has, counted from 0, or None for a sound one.

        They are spread evenly and take turns, so that also a small deployment has one of each.
        """
        if not self.malformed:
            return None
        period = max(1, round(1 / self.malformed))
        # Another place in the period for each kind, not always the last of it.
        offset = sum(kind.encode()) % period
        turn, rest = divmod(index + offset, period)
        return turn if rest == period - 1 else None

    def moment(self, rng: Random, days: int = 720) -> int:
        """Return a time of the last `days` days, in milliseconds since 1970."""
        return self.now_ms - int(rng.random() * days * DAY)
