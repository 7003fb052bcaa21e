"""Whether clocks agree."""

from __future__ import annotations

from datetime import datetime

from cht_sync.check.finding import Finding, ok, warning

# A ``Date`` header has whole seconds, and an answer takes its time.
TOLERANCE_S = 30.0


def compared(subject: str, theirs: datetime, before: datetime, after: datetime) -> Finding:
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
