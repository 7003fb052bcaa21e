"""The task that stands for models which cannot be drawn."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator

from cht_sync.errors import SettingsError


class RefuseOperator(BaseOperator):
    """Fails with a sentence that says what to do."""

    def __init__(self, *, reason: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    def execute(self, context: Any) -> None:  # noqa: ARG002
        """Fails."""
        raise SettingsError(self.reason)
