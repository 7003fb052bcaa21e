"""Errors that a person can act on."""

from airflow.sdk.exceptions import AirflowException, AirflowFailException


class SettingsError(AirflowFailException):
    """A setting, a connection or the state of a server is wrong in a way that no retry can mend.

    The text is one sentence that names the setting, its value (never a secret) and the remedy.
    Airflow marks the task failed at once, whatever its ``retries``.
    Source: https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/tasks.html

    :param message: the sentence.
    :param setting: the environment variable it is about, if it is about one.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class CouchDBError(AirflowException):
    """CouchDB could not be reached or did not answer as it should, for longer than we are patient."""


class StoreError(AirflowException):
    """Postgres could not be reached or refused a page; nothing of that page was stored."""


class CheckpointConflictError(StoreError):
    """Another writer moved the checkpoint or holds the source; nothing of the page was stored."""
