"""One line of the check."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial

# A ``Date`` header has whole seconds, and an answer takes its time.
TOLERANCE_S = 30.0


class State(StrEnum):
    """How a prerequisite stands."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One prerequisite and how it stands.

    :param state: ``failed`` is what makes a run fail, ``warning`` what may.
    :param text: what was seen and, where it is not ok, the remedy; never a secret.
    """

    state: State
    subject: str
    text: str

    def __str__(self) -> str:
        # One line each, also where a driver's message has several.
        return f"{self.state:<8} {self.subject}: {' '.join(self.text.split())}"


# Each takes what it is about and what was seen.
ok = partial(Finding, State.OK)
warning = partial(Finding, State.WARNING)
failed = partial(Finding, State.FAILED)


def clock_finding(subject: str, theirs: datetime, before: datetime, after: datetime) -> Finding:
    """One finding about a server's clock and ours.

    The copy does not go by clocks; Airflow's tokens and what people conclude from two logs do.
    """
    off = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
    if off <= TOLERANCE_S:
        return ok(subject, f"within {TOLERANCE_S:.0f} s of this machine's.")
    side = "behind" if theirs < before else "ahead of"
    return warning(
        subject, f"{off:,.0f} s {side} this machine's: let NTP set both, or times in logs and models mislead."
    )
