from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import timezone
from airflow.sdk.configuration import conf

from cht_sync.monitoring.alerts.incidents import Incident
from cht_sync.monitoring.alerts.message import LISTED, Message
from cht_sync.settings.settings import Settings

NOW = datetime(2026, 3, 1, 12, 7, tzinfo=UTC)


@pytest.fixture
def zone():
    yield timezone.initialize
    timezone.initialize(conf.get("core", "default_timezone"))


@pytest.mark.parametrize(
    ("variables", "since"),
    [
        ({}, NOW.replace(hour=11, minute=51)),
        ({"CHT_SYNC_SCHEDULE": "@hourly"}, NOW.replace(hour=11, minute=0)),
        ({"CHT_SYNC_SCHEDULE": "@hourly", "CHT_ALERT_FAILING_MINUTES": "5"}, NOW.replace(minute=0)),
        # Nobody knows when these run, or somebody looks all the time.
        ({"CHT_SYNC_SCHEDULE": "none"}, NOW - timedelta(minutes=15)),
        ({"CHT_SYNC_SCHEDULE": "@continuous"}, NOW - timedelta(minutes=15)),
        ({"CHT_SYNC_SCHEDULE": "@hourly", "CHT_SYNC_MODE": "both"}, NOW - timedelta(minutes=15)),
    ],
)
def test_a_source_must_have_been_read_since_a_run_was_due(variables, since):
    assert Settings(variables).read_since(NOW) == since


def test_a_schedule_is_read_in_the_zone_of_airflow(zone):
    settings = Settings({"CHT_SYNC_SCHEDULE": "0 6 * * *"})
    assert settings.read_since(NOW) == NOW.replace(hour=6, minute=0)
    zone("Africa/Nairobi")
    assert settings.read_since(NOW) == NOW.replace(hour=3, minute=0)


def test_a_message_about_very_many_says_how_many_it_leaves_out():
    incidents = [Incident(n, "source", f"h/{n}", f"text {n}.", NOW, None, recovered=False) for n in range(LISTED + 7)]
    message = Message.about(incidents, "http://airflow", "cht_sync")
    assert len(message.title) <= 200
    assert f"text {LISTED - 1}." in message.lines
    assert f"text {LISTED}." not in message.lines
    assert "And 7 more." in message.lines
