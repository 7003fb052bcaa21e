"""What ends a rebuild."""

from __future__ import annotations

from airflow.sdk.exceptions import AirflowException


class RebuildError(AirflowException):
    """A rebuild failed: the models in use are as they were, and the next deployment tries again.

    :param message: one sentence.
    """
