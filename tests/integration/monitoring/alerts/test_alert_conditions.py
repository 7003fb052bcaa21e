"""One message for each incident and one for its end: what is told, and what is not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from cht_sync.dbt.tables.model_results import FAILED
from cht_sync.monitoring.alerts.sentences import ALERTS as KINDS
from cht_sync.tasks import alerts as tasks
from tests.integration.monitoring.alerts.cases import CASES, SECRET, TOKEN

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("kind", CASES)
def test_one_message_when_it_begins_and_one_when_it_is_over(alerts, kind):
    begin, end, subject = CASES[kind]
    title = f"{KINDS[kind].title}: {subject}"
    assert alerts.look() == []
    alerts.rows(begin)
    assert alerts.look() == [title]
    text = alerts.text()
    link = KINDS[kind].link.format(models="cht_sync", subject=quote(subject, safe=""))
    for part in ("Since: 20", "What to do: ", f":8080{link}".replace("&", "&amp;"), subject):
        assert part in text
    assert [alerts.look() for _ in range(3)] == [[], [], []]
    alerts.rows(end)
    assert alerts.look() == [f"resolved: {title}"]
    assert f"Resolved: {KINDS[kind].title}." in alerts.text()
    assert alerts.look() == []
    said = json.dumps(alerts.webhook, ensure_ascii=False) + "".join(str(mail) for mail in alerts.mailbox.mails)
    assert SECRET not in said
    assert TOKEN not in said
    assert {str(mail["To"]) for mail in alerts.mailbox.mails} == {"oncall@example.org, lead@example.org"}


def test_what_begins_again_is_told_again(alerts):
    begin, end, _ = CASES["source"]
    for _ in range(2):
        alerts.rows(begin)
        assert len(alerts.look()) == 1
        alerts.rows(end)
        assert len(alerts.look()) == 1
    assert alerts.rows("select count(*), count(recovery_notified_at) from v1.couchdb_incident") == [(2, 2)]


def test_a_source_that_was_never_read_is_missed_and_one_that_is_not_configured_is_not(alerts):
    alerts.rows("update v1.couchdb_progress set source = 'old/medic', updated_at = now() - interval '1 day'")
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_incident set opened_at = now() - interval '16 minutes'")
    assert alerts.look() == ["A source is not copied: couch/medic"]
    assert "never read" in alerts.text()
    alerts.rows("update v1.couchdb_progress set source = 'couch/medic', updated_at = now()")
    assert alerts.look() == ["resolved: A source is not copied: couch/medic"]


def test_a_source_that_is_new_and_read_in_time_is_no_news(alerts):
    alerts.rows("update v1.couchdb_progress set source = 'old/medic'")
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_progress set source = 'couch/medic'")
    assert alerts.look() == []


def test_nobody_is_missed_before_the_next_run_is_due(alerts, monkeypatch):
    now = datetime.now(UTC)
    hour = (now - timedelta(minutes=30)).hour
    monkeypatch.setenv("CHT_SYNC_SCHEDULE", f"{(now - timedelta(minutes=30)).minute} {hour} * * *")
    alerts.rows("update v1.couchdb_progress set updated_at = now() - interval '20 minutes'")
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_progress set updated_at = now() - interval '40 minutes'")
    assert alerts.look() == ["A source is not copied: couch/medic"]


def test_a_first_load_is_not_behind(alerts):
    alerts.rows("update v1.couchdb_progress set drained_at = null, pending = 70000, updated_at = now()")
    assert alerts.look() == []


@pytest.mark.parametrize("status", FAILED)
def test_each_way_in_which_a_model_fails_is_told(alerts, status):
    alerts.rows(CASES["models"][0].replace("'error'", f"'{status}'"))
    assert alerts.look() == ["Models fail: v1"]


def test_what_the_selector_left_out_worries_nobody(alerts, monkeypatch):
    monkeypatch.setenv("DBT_SELECTOR", "tag:base")
    alerts.rows(CASES["freshness"][0])
    alerts.rows("insert into v1.couchdb_model_run values ('v1', 'tag:base', now() at time zone 'utc', 'd', now())")
    for kind in ("models", "guard"):
        alerts.rows(CASES[kind][0])
    alerts.rows("update v1.couchdb_model_result set ended_at = now() - interval '8 days'")
    alerts.rows(
        "insert into v1.couchdb_model_result (models_schema, model, name, status)"
        " values ('v1', 'm.user', 'user', 'success')"
    )
    assert alerts.look() == []


@pytest.mark.parametrize("kind", ["models", "guard", "freshness"])
def test_models_of_a_dag_of_their_own_are_looked_for_there(alerts, monkeypatch, kind):
    monkeypatch.setenv("CHT_MODELS", "asset")
    alerts.rows(CASES[kind][0])
    assert len(alerts.look()) == 1
    assert "/dags/cht_models" in alerts.text()
    assert "cht_sync" not in alerts.text()


def test_documents_that_come_into_quarantine_later_are_told_once_a_day(alerts):
    alerts.rows(CASES["quarantine"][0])
    assert len(alerts.look()) == 1
    another = CASES["quarantine"][0].replace("\\x01", "\\x02")
    alerts.rows(another)
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_incident set notified_at = now() - interval '25 hours'")
    assert alerts.look() == ["Documents are in quarantine: couch/medic"]
    assert "2 documents" in alerts.text()
    assert alerts.look() == []


def test_a_first_load_is_told_once_when_it_is_proven(alerts):
    alerts.rows(
        "insert into v1.couchdb_first_load (source, part, done, documents, seq, finished_at)"
        " values ('couch/medic', 'range 001', true, 1234567, '1-a', now())"
    )
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_first_load set proven_at = now()")
    assert alerts.look() == ["A first load is complete: couch/medic"]
    assert "1,234,567 documents" in alerts.text()
    assert [alerts.look() for _ in range(3)] == [[], [], []]


def test_a_deployment_that_fails_is_told_until_one_works(alerts):
    class Task:
        task_id = "build"

    tasks.deployment_failed({"ti": Task()})
    tasks.deployment_failed({"ti": Task()})
    assert alerts.look() == [f"{KINDS['deployment'].title}: dbt project"]
    assert "The task build" in alerts.text()
    assert alerts.look() == []
    tasks.deployment_worked()
    assert alerts.look() == [f"resolved: {KINDS['deployment'].title}: dbt project"]


@pytest.mark.parametrize("kind", ["source", "behind"])
def test_a_source_that_fails_is_not_well_because_the_settings_are_bad(alerts, monkeypatch, kind):
    alerts.rows(CASES[kind][0])
    assert len(alerts.look()) == 1
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps({"conn_type": "http", "host": "couch"}))
    assert alerts.look() == ["The settings cannot be used: settings"]


def test_models_that_never_ran_are_behind(alerts):
    begin, _, _ = CASES["freshness"]
    alerts.rows(begin.partition(";")[0])
    assert alerts.look() == ["The models are behind: v1"]


def test_settings_that_cannot_be_used_are_told(alerts, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps({"conn_type": "http", "host": "couch"}))
    assert alerts.look() == ["The settings cannot be used: settings"]
    assert "COUCHDB_DBS" in alerts.text()


def test_names_are_data(alerts):
    alerts.rows("update v1.couchdb_progress set updated_at = now() - interval '1 h'")
    alerts.rows(
        "insert into v1.couchdb_model_result (models_schema, model, name, status, failing_since)"
        " values ('v1', 'm', '<script>{{ 7 * 7 }}</script>', 'error', now())"
    )
    assert len(alerts.look()) == 2
    assert "&lt;script&gt;{{ 7 * 7 }}" in alerts.text()
