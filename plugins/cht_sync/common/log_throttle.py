"""Saying the same thing again and again, but ever more rarely."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

GROWTH, LONGEST_S = 3.0, 600.0
# What was not repeated for so long begins again.
OVER_S = 900.0


class Seldom:
    """Says when something is to be said again: after a first wait, and then after waits that grow threefold.

    :param first: seconds before it is said for the first time.
    :param then: seconds between the first time and the second; the longest wait is ten minutes.
    """

    def __init__(self, first: float, then: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begun, self._pause = clock, clock(), then
        self._next = self._begun + first

    @property
    def passed(self) -> float:
        """Seconds since it began."""
        return self._clock() - self._begun

    def due(self) -> bool:
        """Whether it is to be said now; who asks has to say it then."""
        now = self._clock()
        if now < self._next:
            return False
        self._next = now + self._pause
        self._pause = min(self._pause * GROWTH, LONGEST_S)
        return True


@dataclass(slots=True)
class _Said:
    seldom: Seldom
    times: int
    last: float


class Repeated:
    """Counts how often the same is said in this process, whoever says it.

    Texts that differ in nothing but numbers are the same: a server that fails fails for each request.
    """

    def __init__(self, then: float = 10.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._then, self._clock, self._lock = then, clock, threading.Lock()
        self._known: dict[str, _Said] = {}

    def count(self, text: str) -> str | None:
        """What to add to a text, or None where it need not be said now.

        :return: nothing for the first time, then how often it came since when.
        """
        now = self._clock()
        with self._lock:
            self._known = {key: said for key, said in self._known.items() if now - said.last < OVER_S}
            key = re.sub(r"\d+", "#", text)
            said = self._known.setdefault(key, _Said(Seldom(0.0, self._then, self._clock), 0, now))
            said.times, said.last = said.times + 1, now
            if not said.seldom.due():
                return None
            return "" if said.times == 1 else f" It is the {_ordinal(said.times)} time in {said.seldom.passed:,.0f} s."


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number:,}{ending}"
