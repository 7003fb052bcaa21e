"""One line of the check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


def ok(subject: str, text: str) -> Finding:
    """What is as it should be."""
    return Finding(State.OK, subject, text)


def warning(subject: str, text: str) -> Finding:
    """What a run may get by with."""
    return Finding(State.WARNING, subject, text)


def failed(subject: str, text: str) -> Finding:
    """What makes a run fail."""
    return Finding(State.FAILED, subject, text)
