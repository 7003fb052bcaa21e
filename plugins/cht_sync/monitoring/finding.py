"""A finding: what it is about, how bad it is, since when; and from when on something is late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from cht_sync.errors import SettingsError
from cht_sync.monitoring.state import State

if TYPE_CHECKING:
    from cht_sync.settings.settings import Settings

# A full comparison of a large database takes hours, and may be tried again.
TO_RECONCILE = timedelta(days=1)


class Kind(StrEnum):
    """What a finding is about; in this order of findings that are as bad."""

    DESTINATION = "destination"
    PART = "part"
    SCHEDULER = "scheduler"
    TRIGGERER = "triggerer"
    DAG = "dag"
    PAUSED = "paused"
    PAUSED_DAG = "paused_dag"
    DUE = "due"
    SETTINGS = "settings"
    SOURCE = "source"
    RETRYING = "retrying"
    MISSED = "missed"
    BEHIND = "behind"
    UNREAD = "unread"
    LOADING = "loading"
    LOADED = "loaded"
    GONE_OWNER = "gone_owner"
    DOUBT = "doubt"
    OLDER_REVISION = "older_revision"
    PROOF = "proof"
    RECONCILIATION_OVERDUE = "reconciliation_overdue"
    QUARANTINE = "quarantine"
    SHRUNK = "shrunk"
    HELD = "held"
    MODELS = "models"
    REMOVED = "removed"
    FORM = "form"
    FORM_NOTICE = "form_notice"
    MODELS_BEHIND = "models_behind"
    MODELS_LOADING = "models_loading"
    TASK = "task"
    DEPLOYMENT = "deployment"
    RUN = "run"
    START = "start"


SEVERITY: dict[Kind, State] = {
    Kind.START: "empty", Kind.DESTINATION: "unknown", Kind.PART: "unknown", Kind.DAG: "paused", Kind.PAUSED: "paused",
    Kind.SCHEDULER: "failing", Kind.TRIGGERER: "failing", Kind.DUE: "behind", Kind.SETTINGS: "failing",
    Kind.RUN: "failing", Kind.SOURCE: "failing", Kind.RETRYING: "retrying", Kind.MISSED: "behind",
    Kind.BEHIND: "behind", Kind.UNREAD: "loading", Kind.LOADING: "loading", Kind.LOADED: "ok",
    Kind.GONE_OWNER: "failing", Kind.DOUBT: "warning", Kind.OLDER_REVISION: "warning", Kind.PROOF: "warning",
    Kind.QUARANTINE: "warning", Kind.SHRUNK: "failing", Kind.HELD: "failing", Kind.MODELS: "failing",
    Kind.MODELS_BEHIND: "behind", Kind.MODELS_LOADING: "loading", Kind.REMOVED: "warning", Kind.TASK: "failing",
    Kind.DEPLOYMENT: "warning", Kind.RECONCILIATION_OVERDUE: "warning", Kind.PAUSED_DAG: "warning",
    Kind.FORM: "warning", Kind.FORM_NOTICE: "ok",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing to know.

    :param subject: what is meant, such as a source or a schema of models.
    :param severity: how bad it is, as a state of the page.
    :param about: what was read of it, for sentences: a source, models, the error of a task.
    :param told: whether it has lasted so long that an alert is sent.
    :param follows: whether it only follows from a worse finding, which the page shows in its place.
    """

    kind: Kind
    subject: str
    severity: State
    since: datetime | None = None
    about: Any = None
    told: bool = True
    follows: bool = False


@dataclass(frozen=True, slots=True)
class Limits:
    """What the settings say: from when on something is late.

    :param failing: how long a source may not be read, and a task may fail.
    :param freshness: how long changes may wait in CouchDB, and documents for the models, before an alert is sent.
    :param due: since when a source must have been read; None for since ``failing`` ago.
    :param reconciled_since: since when a reconciliation of each source must have ended; None without a schedule.
    :param by_schedule: whether sources are read by runs alone, so that between two of them no source is late.
    :param form_alerts: whether an alert says what a deployment changes in the tables of forms.
    :param models_dag: the DAG that runs them.
    """

    failing: timedelta = timedelta(minutes=15)
    freshness: timedelta = timedelta(minutes=60)
    due: datetime | None = None
    reconciled_since: datetime | None = None
    by_schedule: bool = True
    form_alerts: bool = True
    models_schema: str = "v1"
    models_dag: str = "cht_sync"

    @classmethod
    def of(cls, settings: Settings, now: datetime) -> Limits:
        """Those of the settings; the defaults where one cannot be used, which fails the task ``sources``."""
        try:
            settings = settings.usable()
        except SettingsError:
            return cls()
        return cls(
            failing=timedelta(minutes=settings.alert_failing_minutes),
            freshness=timedelta(minutes=settings.alert_freshness_minutes),
            due=settings.read_since(now),
            reconciled_since=_reconciled_since(settings.reconcile_schedule, now),
            form_alerts=bool(settings.alert_forms),
            by_schedule=settings.sync_mode == "schedule",
            models_schema=settings.dbt_schema,
            models_dag=settings.models_dag,
        )

    def patience(self, now: datetime) -> dict[str, datetime]:
        """Before when an incident must have been opened for an alert to be sent, by the name of the alert."""
        return {
            # One that was never read may be new: it is missed once a run was due since it was first looked for.
            "source": self.due or now - self.failing,
            # Each first load of a cluster leaves one, which the daily reconciliation clears.
            "doubt": now - timedelta(hours=25),
            # A lock that is gone soon needs no alert.
            "unknown": now - self.failing,
        }


def _reconciled_since(schedule: str | None, now: datetime) -> datetime | None:
    """When the newest run was due that has had a day to compare everything.

    :param schedule: a cron expression, in UTC.
    """
    if schedule is None:
        return None
    from croniter import croniter

    return croniter(schedule, (now - TO_RECONCILE).astimezone(UTC)).get_prev(datetime)
