"""An ISO week."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self

from cht_sync.errors import SettingsError


@dataclass(frozen=True, slots=True)
class Week:
    """An ISO week, in UTC.

    :param year: ISO year.
    :param number: 1 to 53.
    """

    year: int
    number: int

    @classmethod
    def last(cls, now: datetime) -> Self:
        """The week that was over last.

        :param now: with a time zone.
        """
        year, number, _ = (now.astimezone(UTC) - timedelta(days=7)).isocalendar()
        return cls(year, number)

    @classmethod
    def of(cls, text: str) -> Self:
        """Reads ``2026-W07``.

        :param text: what a person wrote.
        :raises SettingsError: if it is no week.
        """
        try:
            monday = datetime.strptime(f"{text.strip()}-1", "%G-W%V-%u")
        except ValueError:
            raise SettingsError(f"week={text!r} is no ISO week: write one such as 2026-W07.", "week") from None
        year, number, _ = monday.isocalendar()
        return cls(year, number)

    @property
    def begin(self) -> datetime:
        """Monday, midnight UTC."""
        return datetime.fromisocalendar(self.year, self.number, 1).replace(tzinfo=UTC)

    @property
    def end(self) -> datetime:
        """The next Monday, which is no part of it."""
        return self.begin + timedelta(days=7)

    def __str__(self) -> str:
        return f"{self.year:04}-W{self.number:02}"
