"""Errors that a person can act on."""

from airflow.sdk.exceptions import AirflowException, AirflowFailException


class ExpectedError(AirflowException):
    """Something outside of this code failed; the text says what, and another try may help.

    A task that ends with it, or with an ``AirflowFailException``, has the text as the last line of its log and no
    traceback. Everything else is taken for a fault of this code.
    """

    #: Whether the text holds what dbt or Postgres said, which may quote a document.
    quotes = False


class SettingsError(AirflowFailException):
    """A setting, a connection or the state of a server is wrong in a way that no retry can mend.

    The text is one sentence that names the setting, its value (never a secret) and the remedy.
    Airflow marks the task failed at once, whatever its ``retries``.
    Source: https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/tasks.html

    :param setting: the environment variable it is about, if it is about one.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class RequestRefusedError(SettingsError):
    """CouchDB refused a request for good.

    :param status: HTTP status; 404 means that there is no such database, or not any more.
    :param said: the reason in CouchDB's own words, where it gave one.
    """

    def __init__(self, message: str, status: int, said: str = "") -> None:
        super().__init__(message)
        self.status, self.said = status, said


class CouchDBError(ExpectedError):
    """CouchDB could not be reached or did not answer as it should; another try may help."""


class NodeDownError(CouchDBError):
    """A node of the cluster does not answer, and no other has what was asked for: it comes when the node is back.

    :param after: seconds before which another try is of no use.
    """

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class NoJSONError(CouchDBError):
    """Something between here and CouchDB answered with a page of its own."""


class BrokenAnswerError(CouchDBError):
    """An answer timed out, broke off or was no JSON: a smaller page may come through."""


class UnreadableAnswerError(BrokenAnswerError):
    """An answer came whole and cannot be read: the next try would find the same, a smaller page may come through."""


class NotHandedOutError(CouchDBError):
    """CouchDB refuses one document, whatever the others do."""


class StoreError(ExpectedError):
    """Postgres could not be reached or refused a page; nothing of that page was stored.

    :param passing: whether another try in a moment may help.
    :param lost: whether the connection is gone, and with it every claim.
    :param code: SQLSTATE that Postgres gave; empty where it gave none.
    """

    def __init__(self, message: str, passing: bool = False, lost: bool = False, code: str = "") -> None:
        super().__init__(message)
        self.passing, self.lost, self.code = passing, lost, code


class CheckpointConflictError(StoreError):
    """Another writer moved the checkpoint or holds the source; nothing of the page was stored."""


class SupersetError(ExpectedError):
    """Superset could not be reached or refused dashboards; nothing of them was imported."""


class ModelFailedError(ExpectedError):
    """dbt failed on a model, or did not run it."""

    quotes = True


class IncompleteError(AirflowFailException):
    """The last task of a run found tasks that failed; the text tells what their logs say, dbt's words among them."""

    quotes = True


class ShrunkError(AirflowFailException):
    """A model lost more rows than is believed without a person; another try would find the same."""


class ChangedError(AirflowFailException):
    """The table of a model is not as it was built; another try would find the same."""


class HeldError(AirflowFailException):
    """A model waits, because its deletes would reach the rows of another that fails; another try would, too."""


class StoppedError(ExpectedError):
    """Airflow ended the task; what was on its way was stored as a whole, or not at all."""


class OutOfTimeError(AirflowFailException):
    """dbt was ended because the time of its run is over; another try in the same run would have none."""


class StillFailingError(AirflowFailException):
    """Models that failed the last time fail again; another try would find the same."""

    quotes = True
