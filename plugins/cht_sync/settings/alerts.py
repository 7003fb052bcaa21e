"""The variables of alerts."""

from __future__ import annotations

from datetime import datetime, timedelta

from cht_sync.settings.reports import ReportSettings
from cht_sync.settings.sync import NOT_IN_CRONITER


class AlertSettings(ReportSettings):
    """Whom to tell, and from when on; with no channel nobody is told."""

    @property
    def alert_email(self) -> list[str]:
        """``CHT_ALERT_EMAIL``: addresses that get a mail, separated by commas or spaces; default none."""
        return self.words("CHT_ALERT_EMAIL")

    @property
    def alert_smtp_conn_id(self) -> str:
        """``CHT_ALERT_SMTP_CONN_ID``: Airflow connection of the mail server, default ``smtp_default``."""
        return self.text("CHT_ALERT_SMTP_CONN_ID", "smtp_default")

    @property
    def alert_apprise_conn_id(self) -> str:
        """``CHT_ALERT_APPRISE_CONN_ID``: Airflow connection of type Apprise, whose extra names the services (Slack,
        Teams, Telegram, webhooks); default none.
        """
        return self.text("CHT_ALERT_APPRISE_CONN_ID")

    @property
    def alert_schedule(self) -> str | None:
        """``CHT_ALERT_SCHEDULE``: when the DAG ``cht_alerts`` looks, default every minute."""
        return self._schedule("CHT_ALERT_SCHEDULE", "* * * * *")

    @property
    def alert_failing_minutes(self) -> int:
        """``CHT_ALERT_FAILING_MINUTES``: minutes after a run was due without a good look at a source, default 15."""
        return self.number("CHT_ALERT_FAILING_MINUTES", 15, low=1, high=100_000)

    def read_since(self, now: datetime) -> datetime:
        """Since when a source must have been read: for ``CHT_ALERT_FAILING_MINUTES`` a run has been due.

        With a schedule rarer than that, nobody is missed before the next run.

        :param now: the time, with a zone.
        """
        from airflow.sdk import timezone
        from croniter import croniter

        limit = now - timedelta(minutes=self.alert_failing_minutes)
        # A trigger that waits for changes looks at each source all the time.
        if self.sync_mode != "schedule" or self.schedule is None or self.schedule in NOT_IN_CRONITER:
            return limit
        # Airflow reads a schedule in its default zone, as it does a time that names none.
        zone = timezone.parse("2000-01-01").tzinfo
        return croniter(self.schedule, limit.astimezone(zone)).get_prev(datetime)

    @property
    def alert_freshness_minutes(self) -> int:
        """``CHT_ALERT_FRESHNESS_MINUTES``: minutes that changes may wait in CouchDB, and documents for the models,
        default 60.
        """
        return self.number("CHT_ALERT_FRESHNESS_MINUTES", 60, low=1, high=100_000)

    @property
    def status_seconds(self) -> int:
        """``CHT_STATUS_SECONDS``: how old an answer of the status page may be that its readers share, default 3; with
        0 each is made anew.
        """
        return self.number("CHT_STATUS_SECONDS", 3, low=0, high=300)

    @property
    def metrics_token(self) -> str:
        """``CHT_METRICS_TOKEN``, or a file by ``CHT_METRICS_TOKEN_FILE``: what Prometheus shows at ``/metrics``;
        default none: no such page.
        """
        return self.secret("CHT_METRICS_TOKEN", "")

    @property
    def alerts(self) -> bool:
        """Whether anybody is to be told."""
        return bool(self.alert_email or self.alert_apprise_conn_id)
