"""A figure, its aim and whether it is met."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line of the table.

    :param name: what was measured.
    :param value: the number.
    :param unit: of the number; empty for a ratio.
    :param most: aim: not more than this.
    :param least: aim: not less than this.
    """

    name: str
    value: float
    unit: str = ""
    most: float | None = None
    least: float | None = None

    @property
    def text(self) -> str:
        """The number with its unit."""
        return f"{self.value:,.2f} {self.unit}".strip() if self.value < 1000 else f"{self.value:,.0f} {self.unit}"

    @property
    def aim(self) -> str:
        """The aim in words."""
        if self.least is not None:
            return f"≥ {self.least:g}"
        return f"≤ {self.most:g}" if self.most is not None else ""

    @property
    def verdict(self) -> str:
        """Whether the aim is met."""
        if self.least is None and self.most is None:
            return ""
        met = self.value >= self.least if self.least is not None else self.value <= (self.most or 0)
        return "✓" if met else "✗"
