"""What ends a rebuild."""

from __future__ import annotations

from cht_sync.errors import ExpectedError


class RebuildError(ExpectedError):
    """A rebuild failed: the models in use are as they were, and the next deployment tries again."""


class RebuildRefusedError(RebuildError):
    """dbt refused a part of a rebuild; the text holds what it said."""

    quotes = True
