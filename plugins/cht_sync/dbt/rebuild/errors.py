"""What ends a rebuild."""

from __future__ import annotations

from cht_sync.errors import ExpectedError, SettingsError


class RebuildError(ExpectedError):
    """A rebuild failed: the models in use are as they were, and the next deployment tries again."""


class RebuildRefusedError(RebuildError):
    """dbt refused a part of a rebuild; the text holds what it said."""

    quotes = True


def unfit(what: str, said: str, remedy: str, made: str = "what was rebuilt") -> SettingsError:
    """Something on a relation in use cannot be on its successor; ``said`` is why."""
    return SettingsError(
        f"{what} does not fit {made} ({said}): nothing was changed; {remedy}, and the next deployment goes on."
    )
