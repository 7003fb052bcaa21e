"""Who hears what, and how often, where channels, tasks or PostgreSQL fail."""

from __future__ import annotations

import json

import pytest

from cht_sync.settings.settings import Settings
from cht_sync.tasks import alerts as tasks
from tests.integration.monitoring.alerts.cases import CASES, TOKEN

pytestmark = pytest.mark.integration


def test_what_begins_together_is_one_message_and_so_is_its_end(alerts, monkeypatch):
    couchdb = {"conn_type": "http", "host": "couch", "extra": {"databases": ["medic", "medic-sentinel", "_users"]}}
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps(couchdb))
    alerts.rows(
        "insert into v1.couchdb_progress (source, seq, updated_at)"
        " values ('couch/medic-sentinel', '1-a', now()), ('couch/_users', '1-a', now())"
    )
    alerts.rows(CASES["source"][0])
    (title,) = alerts.look()
    kind, number, named = title.split(": ")
    assert (kind, number) == ("A source is not copied", "3")
    assert set(named.split(", ")) == {"couch/medic", "couch/medic-sentinel", "couch/_users"}
    assert alerts.text().count("was last read successfully") == 3
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_progress set updated_at = now() where source <> 'couch/_users'")
    (title,) = alerts.look()
    assert title.startswith("resolved: A source is not copied: 2: ")
    alerts.rows(CASES["source"][1])
    assert alerts.look() == ["resolved: A source is not copied: couch/_users"]


def test_a_channel_that_is_down_gets_the_message_later(alerts, monkeypatch, caplog):
    monkeypatch.delenv("CHT_ALERT_APPRISE_CONN_ID")
    alerts.mailbox.refuses = True
    alerts.rows(CASES["source"][0])
    with caplog.at_level("INFO"):
        assert tasks.tell(Settings()) == 0
    assert "CHT_ALERT_EMAIL: the message could not be sent" in caplog.text
    alerts.mailbox.refuses = False
    assert tasks.tell(Settings()) == 1
    assert tasks.tell(Settings()) == 0


def test_what_ended_before_anybody_could_be_told_is_told_in_one_message(alerts, monkeypatch):
    monkeypatch.delenv("CHT_ALERT_APPRISE_CONN_ID")
    alerts.mailbox.refuses = True
    alerts.rows(CASES["source"][0])
    assert tasks.tell(Settings()) == 0
    alerts.rows(CASES["source"][1])
    assert tasks.tell(Settings()) == 0
    alerts.mailbox.refuses = False
    assert [tasks.tell(Settings()) for _ in range(2)] == [1, 0]
    (mail,) = alerts.mailbox.mails
    assert mail["Subject"] == "CHT Sync: resolved: A source is not copied: couch/medic"
    assert ", until 20" in alerts.text()


def test_nobody_hears_of_the_end_of_what_nobody_was_to_hear_of(alerts):
    """Between two looks a deployment failed and worked again."""

    class Task:
        task_id = "build"

    tasks.deployment_failed({"ti": Task()})
    tasks.deployment_worked()
    assert alerts.look() == []


def test_each_channel_hears_everything_once_however_long_it_was_down(alerts):
    alerts.mailbox.refuses = True
    alerts.rows(CASES["source"][0])
    assert [tasks.tell(Settings()) for _ in range(3)] == [1, 0, 0]
    assert ([each["title"] for each in alerts.webhook], alerts.mailbox.mails) == (
        ["CHT Sync: A source is not copied: couch/medic"],
        [],
    )
    alerts.mailbox.refuses = False
    assert [tasks.tell(Settings()) for _ in range(2)] == [1, 0]
    alerts.mailbox.refuses = True
    alerts.rows(CASES["source"][1])
    assert [tasks.tell(Settings()) for _ in range(2)] == [1, 0]
    alerts.mailbox.refuses = False
    assert [tasks.tell(Settings()) for _ in range(2)] == [1, 0]
    titles = [str(mail["Subject"]) for mail in alerts.mailbox.mails]
    assert titles == [each["title"] for each in alerts.webhook]
    assert len(titles) == 2


def test_an_end_is_tried_for_a_day(alerts):
    alerts.mailbox.refuses = True
    alerts.rows(CASES["source"][0])
    tasks.tell(Settings())
    alerts.rows(CASES["source"][1])
    tasks.tell(Settings())
    alerts.rows("update v1.couchdb_incident set resolved_at = now() - interval '25 hours'")
    alerts.mailbox.refuses = False
    assert tasks.tell(Settings()) == 0


def test_a_connection_that_names_no_service_does_not_silence_the_others(alerts, monkeypatch, caplog):
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps({"conn_type": "apprise", "extra": {"config": []}}))
    alerts.rows(CASES["source"][0])
    assert [tasks.tell(Settings()) for _ in range(2)] == [1, 0]
    assert "CHT_ALERT_APPRISE_CONN_ID: Connection 'alerts' names no service" in caplog.text


def test_one_message_comes_twice_where_the_task_was_killed_before_it_was_noted(alerts, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*args):
        raise Killed

    monkeypatch.delenv("CHT_ALERT_APPRISE_CONN_ID")
    alerts.rows(CASES["source"][0])
    with monkeypatch.context() as patch:
        patch.setattr("cht_sync.monitoring.alerts.incidents.Incidents.told", killed)
        with pytest.raises(Killed):
            tasks.tell(Settings())
    assert [tasks.tell(Settings()) for _ in range(2)] == [1, 0]
    assert len(alerts.mailbox.mails) == 2


def test_incidents_of_before_channels_were_kept_are_not_told_again(alerts):
    """After an upgrade, and before the copy has run: it may be what fails."""
    alerts.rows(CASES["source"][0])
    alerts.look()
    alerts.rows("alter table v1.couchdb_incident drop column told, drop column recovery_told, drop column tried_at")
    alerts.rows("delete from v1.couchdb_migration where name like '%/0013%'")
    alerts.rows(CASES["source"][0])
    assert alerts.look() == []
    alerts.rows(CASES["source"][1])
    assert alerts.look() == ["resolved: A source is not copied: couch/medic"]


def test_a_service_that_is_dead_does_not_make_the_others_hear_it_again(alerts, webhook, monkeypatch):
    port, taken = webhook
    monkeypatch.delenv("CHT_ALERT_EMAIL")
    services = [{"path": "json://127.0.0.1:9/dead"}, {"path": f"json://127.0.0.1:{port}/{TOKEN}"}]
    connection = {"conn_type": "apprise", "extra": {"config": services}}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps(connection))
    alerts.rows(CASES["source"][0])
    assert [tasks.tell(Settings()) for _ in range(3)] == [1, 0, 0]
    assert len(taken) == 1


@pytest.mark.parametrize("how", ["refuses", "is gone"])
def test_a_postgres_that_cannot_be_used_is_told_once_and_when_it_is_back(alerts, monkeypatch, how):
    kept = {}

    class Variables:
        """Stands for Airflow's, which need its API server."""

        @staticmethod
        def get(name, default):
            return kept.get(name, default)

        set = staticmethod(kept.__setitem__)
        delete = staticmethod(kept.pop)

    monkeypatch.setattr(tasks, "Variable", Variables)
    with monkeypatch.context() as patch:
        if how == "refuses":
            patch.setenv("POSTGRES_PASSWORD", "an-0ld-0ne")
        else:
            patch.setenv("POSTGRES_PORT", "9")
        assert [tasks.alert.function() for _ in range(3)] == [2, 0, 0]
    assert [tasks.alert.function() for _ in range(2)] == [2, 0]
    assert kept == {}
    titles = [str(mail["Subject"]) for mail in alerts.mailbox.mails]
    assert titles == [
        "CHT Sync: PostgreSQL does not answer: PostgreSQL",
        "CHT Sync: resolved: PostgreSQL does not answer: PostgreSQL",
    ]
