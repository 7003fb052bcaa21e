"""What people are told while part of the state cannot be read, and why something fails."""

from __future__ import annotations

import json
from contextlib import closing, contextmanager

import psycopg2
import pytest

from cht_sync.monitoring.alerts.sentences import ALERTS as KINDS
from cht_sync.tasks import alerts as tasks
from tests.integration.monitoring.alerts.cases import CASES
from tests.integration.monitoring.web.scenes import add_doubt

pytestmark = pytest.mark.integration
DOWN = "CouchDB at couch:443 did not answer, database {}: see whether it runs."


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Locks are found out at once."""
    looking = tasks.opened
    monkeypatch.setattr(tasks, "opened", lambda *args, **kwargs: looking(*args, **{**kwargs, "lock_s": 0.3}))


@contextmanager
def locked(alerts, table):
    with closing(psycopg2.connect(alerts.database.dsn, application_name="vacuum")) as conn, conn.cursor() as cursor:
        cursor.execute("select now()")
        cursor.execute(f"lock table v1.{table} in access exclusive mode")
        yield
        conn.rollback()


def fails(alerts, message, subject="couch/medic", dag_id="cht_sync", task_id="sync"):
    alerts.rows(
        "insert into v1.couchdb_task_error (dag_id, task_id, subject, message, tries, first_at, last_at)"
        " values (%s, %s, %s, %s, 3, now() - interval '20 minutes', now() + interval '1 s')",
        dag_id, task_id, subject, message,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "table"),
    [("source", "couchdb_progress"), ("behind", "couchdb_progress"), ("freshness", "couchdb_model_run"),
     ("quarantine", "couchdb_quarantine"), ("models", "couchdb_model_result"), ("guard", "couchdb_model_result"),
     ("proof", "couchdb_reconciliation")],
)  # fmt: skip
def test_what_a_lock_hides_is_neither_over_nor_does_it_hide_the_rest(alerts, monkeypatch, kind, table):
    alerts.rows(CASES[kind][0])
    assert len(alerts.look()) == 1
    other = "quarantine" if kind != "quarantine" else "proof"
    alerts.rows(CASES[other][0])
    with locked(alerts, table):
        assert [title.partition(":")[0] for title in alerts.look()] == [KINDS[other].title]
        # A lock that lasts is told of, with who holds it.
        alerts.rows("update v1.couchdb_incident set opened_at = now() - interval '16 minutes' where kind = 'unknown'")
        titles = alerts.look()
        assert [title.partition(":")[0] for title in titles] == [KINDS["unknown"].title]
        assert "locked by vacuum (pid" in alerts.text()
    assert [title.partition(": ")[2].partition(":")[0] for title in alerts.look()] == [KINDS["unknown"].title]
    alerts.rows(CASES[kind][1])
    assert [title.partition(": ")[2].partition(":")[0] for title in alerts.look()] == [KINDS[kind].title]


def test_a_lock_on_the_incidents_is_no_postgres_that_is_down(alerts, monkeypatch):
    kept = {}

    class Variables:
        """Stands for Airflow's, which need its API server."""

        @staticmethod
        def get(name, default):
            return kept.get(name, default)

        set = staticmethod(kept.__setitem__)
        delete = staticmethod(kept.pop)

    monkeypatch.setattr(tasks, "Variable", Variables)
    monkeypatch.setattr(tasks, "STATEMENT_TIMEOUT", "500ms")
    with locked(alerts, "couchdb_incident"):
        assert tasks.alert.function() == 0
        known = json.loads(kept["cht_alerts_locked_since"])
        kept["cht_alerts_locked_since"] = json.dumps({**known, "since": "2026-01-01T00:00:00+00:00"})
        assert [tasks.alert.function() for _ in range(2)] == [2, 0]
        assert "locked by vacuum (pid" in alerts.text()
    assert [tasks.alert.function() for _ in range(2)] == [2, 0]
    assert kept == {}
    titles = [str(mail["Subject"]) for mail in alerts.mailbox.mails]
    assert titles == [
        "CHT Sync: Part of the state cannot be read: couchdb_incident",
        "CHT Sync: resolved: Part of the state cannot be read: couchdb_incident",
    ]


def test_the_reason_is_told_once_for_one_cause(alerts, monkeypatch):
    couchdb = {"conn_type": "http", "host": "couch", "extra": {"databases": ["medic", "logs"]}}
    monkeypatch.setenv("AIRFLOW_CONN_CHT_COUCHDB", json.dumps(couchdb))
    alerts.rows("insert into v1.couchdb_progress (source, seq, updated_at) values ('couch/logs', '1-a', now())")
    alerts.rows(CASES["source"][0])
    for database in ("medic", "logs"):
        fails(alerts, DOWN.format(database), f"couch/{database}")
    assert len(alerts.look()) == 1
    text = alerts.text()
    assert text.count("was last read successfully") == 2
    assert text.count("see whether it runs") == 1
    assert "Retrying since 20" in text
    assert "3 tries failed" in text


def test_a_task_that_fails_for_long_is_told_until_it_succeeds(alerts):
    fails(alerts, "The hub did not answer: set DBT_LOCAL_PATH.", "", "cht_reconcile", "compare")
    assert alerts.look() == ["A task fails: cht_reconcile.compare"]
    assert "set DBT_LOCAL_PATH" in alerts.text()
    alerts.rows("delete from v1.couchdb_task_error")
    assert alerts.look() == ["resolved: A task fails: cht_reconcile.compare"]


def test_collisions_with_a_source_that_is_not_configured_any_more(alerts):
    alerts.rows(
        "insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc) values (now(), 'a', false, 'old/medic', '{}');"
        "insert into v1.couchdb_collision (key, _id, source, _deleted, doc, saved_timestamp)"
        " values ('\\x01', 'a', 'couch/medic', false, '{}', now());"
        "insert into v1.couchdb_model_run values ('v1', '', 'infinity', 'd', now())"
    )
    (title,) = alerts.look()
    assert title.startswith(KINDS["collision"].title)
    assert "1 document of couch/medic cannot reach the models: its row belongs to old/medic" in alerts.text()
    assert "rename-source old/medic couch/medic" in alerts.text()
    alerts.rows("update v1.couchdb set source = 'couch/medic'; delete from v1.couchdb_collision")
    (title,) = alerts.look()
    assert title.startswith("resolved: ")


def test_a_source_that_a_dag_of_ones_own_copies_is_not_gone(alerts):
    alerts.rows(
        "insert into v1.couchdb_progress (source, seq, updated_at) values ('other/medic', '1-a', now() - interval '23 h');"
        "insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc) values (now(), 'a', false, 'other/medic', '{}');"
        "insert into v1.couchdb_collision (key, _id, source, _deleted, doc, saved_timestamp)"
        " values ('\\x01', 'a', 'couch/medic', false, '{}', now());"
        "insert into v1.couchdb_model_run values ('v1', '', 'infinity', 'd', now())"
    )
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_progress set updated_at = now() - interval '25 h' where source = 'other/medic'")
    (title,) = alerts.look()
    assert title.startswith(KINDS["collision"].title)


def test_doubts_and_older_revisions(alerts):
    add_doubt(alerts.rows, "couch/medic", "26 hours")
    assert sorted(alerts.look()) == [
        "A source may be incomplete: couch/medic", "CouchDB shows older revisions than are stored, or none: couch/medic",
    ]  # fmt: skip
    text = " ".join(json.dumps(each) for each in alerts.webhook)
    for part in ("than PostgreSQL holds of 2 documents of couch/medic, or none", "accept_older", "CHT_OLDER_AFTER"):
        assert part in text
    alerts.rows("update v1.couchdb_progress set doubt = null; delete from v1.couchdb_older_revision")
    assert len(alerts.look()) == 2
    assert alerts.look() == []


def test_a_doubt_is_told_only_where_no_daily_proof_has_taken_it_away(alerts):
    add_doubt(alerts.rows, "couch/medic", "24 hours")
    alerts.rows("delete from v1.couchdb_older_revision")
    assert alerts.look() == []
    alerts.rows("update v1.couchdb_progress set doubt = null")
    assert alerts.look() == []
    add_doubt(alerts.rows, "couch/medic", "26 hours")
    alerts.rows("delete from v1.couchdb_older_revision")
    assert alerts.look() == ["A source may be incomplete: couch/medic"]
    assert "cht_reconcile" in alerts.text()
    # Doubted once more, it is no less in doubt.
    alerts.rows("update v1.couchdb_progress set doubted_at = now()")
    assert alerts.look() == []
