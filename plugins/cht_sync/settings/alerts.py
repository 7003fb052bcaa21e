"""The settings of alerts, status page and metrics."""

from __future__ import annotations

from cht_sync.settings.setting import Flag, Number, Schedule, Secret, Section, Text, Words


class AlertsSection(Section):
    """Whom to tell, and from when on."""

    title = "Alerts: docs/how-to-alerts.md"
    # fmt: off
    alert_email = Words(
        "CHT_ALERT_EMAIL",
        about="Addresses that get a mail, separated by commas; where neither this nor the next but one is set, no"
        " alert is sent.",
    )
    alert_smtp_conn_id = Text("CHT_ALERT_SMTP_CONN_ID", "smtp_default", about="Airflow connection of the mail server.")
    alert_apprise_conn_id = Text(
        "CHT_ALERT_APPRISE_CONN_ID",
        about="Airflow connection of type Apprise: Slack, Teams, Telegram, webhooks and many more.",
    )
    alert_schedule = Schedule("CHT_ALERT_SCHEDULE", "* * * * *")
    alert_failing_minutes = Number(
        "CHT_ALERT_FAILING_MINUTES", 15, low=1, high=100_000,
        about="Minutes after a run was due in which a source was not read; minutes that changes may wait in CouchDB,"
        " or for the models. The status page and metrics judge by them, too: the API server needs the same values.",
    )
    alert_freshness_minutes = Number("CHT_ALERT_FRESHNESS_MINUTES", 60, low=1, high=100_000)
    alert_forms = Flag(
        "CHT_ALERT_FORMS", "true",
        about="Whether an alert says what a deployment changes in the tables of forms.",
    )
    # fmt: on

    @property
    def alerts(self) -> bool:
        """Whether anybody is to be told."""
        return bool(self.alert_email or self.alert_apprise_conn_id)


class StatusSection(Section):
    """The status page."""

    title = "The status page: docs/status-page.md"
    # fmt: off
    status_seconds = Number(
        "CHT_STATUS_SECONDS", 3, low=0, high=300,
        about="Seconds for which its readers share an answer; 0 for a new one each time.",
    )
    # fmt: on


class MetricsSection(Section):
    """Metrics for Prometheus."""

    title = "Metrics: docs/how-to-monitoring.md"
    # fmt: off
    metrics_token = Secret(
        "CHT_METRICS_TOKEN",
        about="What Prometheus shows at /cht-sync/metrics of the API server, itself or in a file; where neither is set"
        " there is no such page.",
    )
    # fmt: on
