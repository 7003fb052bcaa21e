"""A destination, and people who are told by a real mail server and a real webhook."""

from __future__ import annotations

import json
import socket
import threading
from email import message_from_bytes, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller

from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.tasks import alerts as tasks
from tests.integration.monitoring.alerts.cases import TOKEN


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
