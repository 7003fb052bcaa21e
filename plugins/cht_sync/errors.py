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


class RequestRefusedError(SettingsError):
    """CouchDB refused a request for good.

    :param message: the sentence.
    :param status: HTTP status; 404 means that there is no such database, or not any more.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class CouchDBError(AirflowException):
    """CouchDB could not be reached or did not answer as it should; another try may help."""


class BrokenAnswerError(CouchDBError):
    """An answer timed out, broke off or was no JSON: a smaller page may come through."""


class NotHandedOutError(CouchDBError):
    """CouchDB refuses one document, whatever the others do."""


class StoreError(AirflowException):
    """Postgres could not be reached or refused a page; nothing of that page was stored.

    :param message: one sentence.
    :param passing: whether another try in a moment may help.
    :param lost: whether the connection is gone, and with it every claim.
    :param code: SQLSTATE that Postgres gave; empty where it gave none.
    """

    def __init__(self, message: str, passing: bool = False, lost: bool = False, code: str = "") -> None:
        super().__init__(message)
        self.passing, self.lost, self.code = passing, lost, code


class CheckpointConflictError(StoreError):
    """Another writer moved the checkpoint or holds the source; nothing of the page was stored."""


class SupersetError(AirflowException):
    """Superset could not be reached or refused dashboards; nothing of them was imported."""


class ShrunkError(AirflowFailException):
    """A model lost more rows than is believed without a person; another try would find the same."""


class HeldError(AirflowFailException):
    """A model waits, because its deletes would reach the rows of another that fails; another try would, too."""


class StoppedError(AirflowException):
    """Airflow ended the task; the page on its way was stored with its checkpoint, or not at all."""
