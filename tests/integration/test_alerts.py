"""One message for each incident and one for its end, through a real mail server and a real webhook."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller

from cht_sync.alerts import tasks
from cht_sync.alerts.condition import KINDS
from cht_sync.connections import postgres_connection
from cht_sync.model_results import FAILED
from cht_sync.settings import RawTable, Settings
from cht_sync.store import DocumentStore

pytestmark = pytest.mark.integration
SECRET = "Aïcha-of-the-village"
TOKEN = "t0ken-of-the-webhook"


class Mailbox:
    """Keeps what a mail server took; refuses where told so."""

    def __init__(self):
        self.mails, self.refuses = [], False

    async def handle_DATA(self, server, session, envelope):
        if self.refuses:
            return "451 not now"
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 OK"


@pytest.fixture
def mailbox():
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        mailbox.port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=mailbox.port)
    controller.start()
    yield mailbox
    controller.stop()


@pytest.fixture
def webhook():
    """What a webhook was sent."""
    taken = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield server.server_address[1], taken
    server.shutdown()
    server.server_close()


class Alerts:
    """A destination, and what people are told of it."""

    def __init__(self, database, mailbox, webhook):
        self.database, self.mailbox, (_, self.webhook) = database, mailbox, webhook

    def rows(self, query, *values):
        return self.database.rows(query, *values)

    def look(self):
        """What one look tells: titles by mail; the webhook is told the same."""
        mails, hooks = len(self.mailbox.mails), len(self.webhook)
        tasks.tell(Settings())
        titles = [str(mail["Subject"]) for mail in self.mailbox.mails[mails:]]
        assert [each["title"] for each in self.webhook[hooks:]] == titles
        return [title.removeprefix("CHT Sync: ") for title in titles]

    def text(self):
        return self.mailbox.mails[-1].get_body(("html", "plain")).get_content()


@pytest.fixture
def alerts(database, mailbox, webhook, monkeypatch):
    port, _ = webhook
    smtp = {"conn_type": "smtp", "host": "127.0.0.1", "port": mailbox.port, "extra": {
        "disable_ssl": True, "disable_tls": True, "from_email": "sync@example.org", "retry_limit": 1,
    }}  # fmt: skip
    apprise = {"conn_type": "apprise", "extra": {"config": [
        {"path": f"json://127.0.0.1:{port}/{TOKEN}", "tag": "programme"},
    ]}}  # fmt: skip
    couchdb = {"conn_type": "http", "host": "couch", "extra": {"databases": ["medic"]}}
    for name, value in {
        "AIRFLOW_CONN_SMTP_DEFAULT": json.dumps(smtp),
        "AIRFLOW_CONN_ALERTS": json.dumps(apprise),
        "AIRFLOW_CONN_CHT_COUCHDB": json.dumps(couchdb),
        "CHT_ALERT_EMAIL": "oncall@example.org, lead@example.org",
        "CHT_ALERT_APPRISE_CONN_ID": "alerts",
    }.items():
        monkeypatch.setenv(name, value)
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
    database.rows(
        "insert into v1.couchdb_progress (source, seq, pending, updated_at) values ('couch/medic', '1-a', 0, now())"
    )
    return Alerts(database, mailbox, webhook)


# What makes it the case, and what ends it.
CASES = {
    "source": (
        "update v1.couchdb_progress set updated_at = now() - interval '16 minutes'",
        "update v1.couchdb_progress set updated_at = now()",
        "couch/medic",
    ),
    "behind": (
        "update v1.couchdb_progress set drained_at = now() - interval '61 minutes', pending = 70000, updated_at = now()",
        "update v1.couchdb_progress set drained_at = now(), pending = 0, updated_at = now()",
        "couch/medic",
    ),
    "freshness": (
        "insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc) values"
        " ((now() at time zone 'utc') - interval '2 hours', 'a', false, 'couch/medic', '{}');"
        "insert into v1.couchdb_model_run values ('v1', '', (now() at time zone 'utc') - interval '3 hours', 'd', now())",
        "update v1.couchdb_model_run set modelled_to = now() at time zone 'utc'",
        "v1",
    ),
    "quarantine": (
        "insert into v1.couchdb_quarantine (source, key, _id, seq, body, body_bytes, reason, sqlstate, first_seen, last_seen, attempts)"
        f" values ('couch/medic', '\\x01', 'patient-of-{SECRET}', '1', '{SECRET}', 9, 'Postgres: {SECRET}', '22P02', now(), now(), 1)",
        "update v1.couchdb_quarantine set resolved_at = now()",
        "couch/medic",
    ),
    "models": (
        "insert into v1.couchdb_model_result (models_schema, model, name, status, message, failing_since)"
        f" values ('v1', 'm.contact', 'contact', 'error', 'invalid date {SECRET}', now())",
        "update v1.couchdb_model_result set status = 'success', failing_since = null",
        "v1",
    ),
    "guard": (
        "insert into v1.couchdb_model_result (models_schema, model, name, status, held)"
        " values ('v1', 'm.document_metadata', 'document_metadata', 'success', 'waits for contact')",
        "update v1.couchdb_model_result set held = null",
        "v1",
    ),
    "proof": (
        "insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, verdict)"
        " values ('scheduled__1', 'couch/medic', 'range 1', now() - interval '2 h', now(), 'differs')",
        "insert into v1.couchdb_reconciliation (run, source, part, planned_at, finished_at, verdict)"
        " values ('scheduled__2', 'couch/medic', 'range 1', now(), now(), 'repaired')",
        "couch/medic",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", CASES)
def test_one_message_when_it_begins_and_one_when_it_is_over(alerts, kind):
    begin, end, subject = CASES[kind]
    title = f"{KINDS[kind].title}: {subject}"
    assert alerts.look() == []
    alerts.rows(begin)
    assert alerts.look() == [title]
    text = alerts.text()
    for part in ("Since: 20", "What to do: ", "/dags/cht_", subject):
        assert part in text
    assert [alerts.look() for _ in range(3)] == [[], [], []]
    alerts.rows(end)
    assert alerts.look() == [f"well again: {title}"]
    assert f"Over: {KINDS[kind].title}." in alerts.text()
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
    assert alerts.look() == ["well again: A source is not copied: couch/medic"]


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
    assert alerts.text().count("was last read with success") == 3
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_progress set updated_at = now() where source <> 'couch/_users'")
    (title,) = alerts.look()
    assert title.startswith("well again: A source is not copied: 2: ")
    alerts.rows(CASES["source"][1])
    assert alerts.look() == ["well again: A source is not copied: couch/_users"]


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
    assert mail["Subject"] == "CHT Sync: well again: A source is not copied: couch/medic"
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
        patch.setattr("cht_sync.alerts.incidents.Incidents.told", killed)
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
    assert alerts.look() == ["well again: A source is not copied: couch/medic"]


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
    assert alerts.look() == ["A first load has ended: couch/medic"]
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
    assert alerts.look() == [f"well again: {KINDS['deployment'].title}: dbt project"]


def test_a_source_that_fails_is_not_well_because_the_settings_are_bad(alerts, monkeypatch):
    alerts.rows(CASES["source"][0])
    assert len(alerts.look()) == 1
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps({"conn_type": "http", "host": "couch"}))
    assert alerts.look() == ["The settings cannot be used: settings"]


def test_a_service_that_is_dead_does_not_make_the_others_hear_it_again(alerts, webhook, monkeypatch):
    port, taken = webhook
    monkeypatch.delenv("CHT_ALERT_EMAIL")
    services = [{"path": "json://127.0.0.1:9/dead"}, {"path": f"json://127.0.0.1:{port}/{TOKEN}"}]
    connection = {"conn_type": "apprise", "extra": {"config": services}}
    monkeypatch.setenv("AIRFLOW_CONN_ALERTS", json.dumps(connection))
    alerts.rows(CASES["source"][0])
    assert [tasks.tell(Settings()) for _ in range(3)] == [1, 0, 0]
    assert len(taken) == 1


def test_models_that_never_ran_are_behind(alerts):
    begin, _, _ = CASES["freshness"]
    alerts.rows(begin.partition(";")[0])
    assert alerts.look() == ["The models are behind: v1"]


def test_settings_that_cannot_be_used_are_told(alerts, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps({"conn_type": "http", "host": "couch"}))
    assert alerts.look() == ["The settings cannot be used: settings"]
    assert "COUCHDB_DBS" in alerts.text()


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
        "CHT Sync: well again: PostgreSQL does not answer: PostgreSQL",
    ]


def test_names_are_data(alerts):
    alerts.rows("update v1.couchdb_progress set updated_at = now() - interval '1 h'")
    alerts.rows(
        "insert into v1.couchdb_model_result (models_schema, model, name, status, failing_since)"
        " values ('v1', 'm', '<script>{{ 7 * 7 }}</script>', 'error', now())"
    )
    assert len(alerts.look()) == 2
    assert "&lt;script&gt;{{ 7 * 7 }}" in alerts.text()
