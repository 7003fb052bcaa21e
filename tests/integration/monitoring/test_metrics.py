"""A real scrape: who may have it, what is in it, and that the dashboard asks for nothing else."""

from __future__ import annotations

import json
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
import yaml
from fastapi import FastAPI
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from cht_sync.monitoring.airflow_state import Dag, Task
from cht_sync.monitoring.metrics.routes import router
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import REPOSITORY, RawTable
from cht_sync.store.document_store import DocumentStore
from tests.integration.monitoring.web.scenes import add_doubt

pytestmark = pytest.mark.integration
MONITORING = REPOSITORY / "include" / "monitoring"
TOKEN = "sc\u00e4pe-t0ken"
OLD = {"couch2pg_up", "couch2pg_progress_sequence", "couch2pg_progress_pending", "dbt_latency", "dbt_execution_time"}


@pytest.fixture(autouse=True)
def copied(monkeypatch):
    """What Airflow knows: the newest run went well and copied one source."""
    task = Task(name="sync", state="success", link="t")
    monkeypatch.setattr(
        "cht_sync.monitoring.metrics.routes.read_dag",
        lambda session: (Dag(succeeded_lately=True), {"couch/medic": task}),
    )


@pytest.fixture
def client(database, monkeypatch, tmp_path):
    token = tmp_path / "token"
    token.write_text(TOKEN + "\n")
    monkeypatch.setenv("CHT_METRICS_TOKEN_FILE", str(token))
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


@pytest.fixture
def filled(database):
    """One of everything."""
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
    database.rows(
        "insert into v1.couchdb_progress (source, seq, pending, updated_at, drained_at)"
        " values ('couch/medic', '4711-g1AAA', 12, now() - interval '1 minute', now() - interval '1 hour');"
        "insert into v1.couchdb (saved_timestamp, _id, source, doc) values (now() at time zone 'utc', 'a', 'couch/medic', '{}');"
        "insert into v1.couchdb_model_run (models_schema, models, modelled_to, succeeded_at)"
        " values ('v1', '', (now() at time zone 'utc') - interval '90 seconds', now());"
        "insert into v1.couchdb_model_result (models_schema, model, name, status, seconds, row_count, failing_since)"
        " values ('v1', 'm.contact', 'con\"tact', 'error', 1.5, 7, now());"
        "insert into v1.couchdb_quarantine (source, key, _id, body, body_bytes, reason, first_seen, last_seen, attempts)"
        " values ('couch/medic', '\\x01', 'x', 'x', 1, 'odd', now(), now(), 1);"
        "insert into v1.couchdb_first_load (source, part, documents, expected, seq) values ('couch/new', 'range 001', 3, 9, '1');"
        "insert into v1.couchdb_reconciliation (run, source, part, finished_at, verdict)"
        " values ('r', 'couch/medic', 'range 1', now(), 'repaired');"
        "insert into v1.couchdb_incident (kind, subject, text) values ('source', 'couch/medic', 'x');"
        "insert into v1.couchdb (saved_timestamp, _id, source, doc) values (now() - interval '1 day', 'b', 'old/medic', '{}');"
        "insert into v1.couchdb_collision (key, _id, source, _deleted, doc, saved_timestamp)"
        " values ('\\x01', 'b', 'couch/medic', false, '{}', now());"
        "insert into v1.couchdb_task_error (dag_id, task_id, subject, message, last_at)"
        " values ('cht_sync', 'sync', 'couch/medic', 'x', now() - interval '1 day')"
    )  # fmt: skip
    database.rows(
        "insert into v1.couchdb_deployment (models_schema, models, version, source, revision, removed)"
        " values ('v1', '', 'v', 's', 'r', '{\"v1.old\": \"2026-03-01T00:00:00Z\", \"v1.gone\": \"2026-03-01T00:00:00Z\"}');"
        "create table v1.old ()"
    )
    add_doubt(database.rows, "couch/medic")
    return database


def scrape(client):
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {TOKEN}".encode()})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_without_the_token_there_is_nothing(client, monkeypatch):
    for header in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {TOKEN}".encode()}):
        assert client.get("/metrics", headers=header).status_code == 401
    monkeypatch.delenv("CHT_METRICS_TOKEN_FILE")
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404


def test_what_is_in_it(client, filled):
    found = scrape(client)
    source, old = ("source", "couch/medic"), (("cht_instance", "couch"), ("db", "medic"))
    assert found["cht_sync_up",] == 1
    assert found["couch2pg_up", *old] == 1
    assert found["couch2pg_progress_sequence", *old] == 4711
    assert found["couch2pg_progress_pending", *old] == 12
    assert found["dbt_latency", ("table_name", "document_metadata")] == pytest.approx(90, abs=5)
    assert found["dbt_execution_time", ("table_name", 'con"tact')] == 1.5
    assert found["cht_sync_model_failing", ("model", 'con"tact')] == 1
    assert found["cht_sync_model_rows", ("model", 'con"tact')] == 7
    assert found["cht_sync_quarantined_documents", source] == 1
    assert found["cht_sync_proof_equal", source] == 1
    assert found["cht_sync_first_load_expected_documents", ("source", "couch/new")] == 9
    assert found["cht_sync_open_incidents", ("kind", "source")] == 1


def test_a_source_that_is_not_read_any_more_is_down(client, filled):
    filled.rows("update v1.couchdb_progress set updated_at = now() - interval '16 minutes'")
    assert scrape(client)["couch2pg_up", ("cht_instance", "couch"), ("db", "medic")] == 0


def test_a_source_is_up_until_the_next_run_is_due(client, filled, monkeypatch):
    filled.rows("update v1.couchdb_progress set updated_at = now() - interval '6 days'")
    up = ("couch2pg_up", ("cht_instance", "couch"), ("db", "medic"))
    assert scrape(client)[up] == 0
    monkeypatch.setenv("CHT_SYNC_SCHEDULE", f"{datetime.now(UTC) - timedelta(days=7):0 0 %-d %-m *}")
    assert scrape(client)[up] == 1


def test_models_that_the_selector_left_out_do_not_lag(client, filled, monkeypatch):
    monkeypatch.setenv("DBT_SELECTOR", "tag:base")
    assert not [name for name in scrape(client) if name[0] == "cht_sync_models_lag_seconds"]
    filled.rows("update v1.couchdb_model_run set models = 'tag:base'")
    assert [name for name in scrape(client) if name[0] == "cht_sync_models_lag_seconds"]


def test_models_of_another_schema_are_not_mixed_in(client, filled):
    filled.rows(
        "insert into v1.couchdb_model_result (models_schema, model, name, status, seconds)"
        " values ('v2', 'm.contact', 'con\"tact', 'success', 99)"
    )
    assert scrape(client)["dbt_execution_time", ("table_name", 'con"tact')] == 1.5


def test_a_postgres_that_does_not_answer_is_told_by_one_number(client, filled, monkeypatch):
    monkeypatch.setenv("POSTGRES_PORT", "9")
    assert scrape(client) == {("cht_sync_up",): 0}


def test_a_locked_table_hides_what_is_in_it_alone(client, filled):
    with closing(psycopg2.connect(filled.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("lock table v1.couchdb_model_result in access exclusive mode")
        found = scrape(client)
        conn.rollback()
    assert (found["cht_sync_up",], found["cht_sync_part_known", ("part", "models")]) == (1, 0)
    assert found["cht_sync_part_known", ("part", "sources")] == 1
    assert found["couch2pg_up", ("cht_instance", "couch"), ("db", "medic")] == 1
    assert not [name for name in found if name[0] == "cht_sync_model_failing"]


def test_what_waits_in_couchdb_is_told_while_it_is_read(client, filled):
    pending = ("couch2pg_progress_pending", ("cht_instance", "couch"), ("db", "medic"))
    filled.rows("update v1.couchdb_task_error set last_at = now() + interval '1 s'")
    assert pending not in scrape(client)
    filled.rows("delete from v1.couchdb_task_error")
    assert scrape(client)[pending] == 12
    filled.rows("update v1.couchdb_progress set updated_at = now() - interval '16 minutes'")
    assert pending not in scrape(client)


def test_findings_are_told(client, filled):
    found, source = scrape(client), ("source", "couch/medic")
    assert found["cht_sync_documents_of_gone_owner", ("owner", "old/medic"), source] == 1
    assert found["cht_sync_source_in_doubt", source] == 1
    assert found["cht_sync_older_revisions", source] == 2
    assert found["cht_sync_removed_relation", ("relation", "v1.old")] == 1
    assert ("cht_sync_removed_relation", ("relation", "v1.gone")) not in found
    assert found["cht_sync_findings", ("kind", "removed"), ("state", "warning")] == 1
    labels = (("dag_id", "cht_sync"), ("subject", "couch/medic"), ("task_id", "sync"))
    assert found["cht_sync_task_failing_since_timestamp_seconds", *labels] > 0


def test_before_the_first_copy_it_is_down(client):
    assert scrape(client) == {("cht_sync_up",): 0}


def test_the_dashboard_asks_for_what_is_there(client, filled):
    there = {name for name, *_ in scrape(client)}
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked = {name for each in expressions for name in re.findall(r"\b(?:couch2pg|dbt|cht_sync)_\w+", each)}
    assert asked <= there
    # All that is told is shown somewhere, but what is told by two names.
    assert there - asked <= {
        "dbt_latency", "cht_sync_models_succeeded_timestamp_seconds", "cht_sync_source_looked_at_timestamp_seconds",
    }  # fmt: skip


def test_sql_exporter_tells_the_same(client, filled):
    found = scrape(client)
    (collector,) = yaml.safe_load((MONITORING / "sql_exporter.yml").read_text())["collectors"]
    assert {metric["metric_name"] for metric in collector["metrics"]} == OLD
    with closing(psycopg2.connect(filled.dsn)) as conn, conn.cursor() as cursor:
        for metric in collector["metrics"]:
            cursor.execute(metric["query"])
            names = [column.name for column in cursor.description]
            (row,) = (dict(zip(names, each, strict=True)) for each in cursor.fetchall())
            labels = sorted((name, row[name]) for name in metric.get("key_labels", []))
            (value,) = metric["values"]
            assert float(row[value]) == pytest.approx(found[metric["metric_name"], *labels], abs=5)
