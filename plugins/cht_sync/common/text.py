"""Texts for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime


def duration(seconds: float) -> str:
    """A time span in its two largest units, as in "2 h 5 min"."""
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        number, left = divmod(left, size)
        if number or (parts and unit != "s"):
            parts.append((number, unit))
    shown = [f"{number} {unit}" for number, unit in parts[:2] if number]
    return " ".join(shown) or "0 s"


def counted(number: int, one: str, many: str, most: int) -> str:
    """A number with its noun, as in "3 documents" or "more than 1,000 documents".

    :param most: where counting has stopped.
    """
    if number > most:
        return f"more than {most:,} {many}"
    return f"{number:,} {one if number == 1 else many}"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Names in a row, as in "a, b, c and 4 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def moment(at: datetime) -> str:
    """A moment in the zone of Airflow (``core.default_timezone``), with the zone's name."""
    from airflow.sdk import timezone

    return f"{at.astimezone(timezone.parse('2000-01-01').tzinfo):%Y-%m-%d %H:%M %Z}"


def zone() -> str:
    """The name of Airflow's zone (``core.default_timezone``), as browsers know it."""
    from airflow.sdk import timezone

    return getattr(timezone.parse("2000-01-01").tzinfo, "name", None) or "UTC"
