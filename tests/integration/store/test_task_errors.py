"""Why tasks fail is kept in PostgreSQL until they succeed, and never at their expense."""

from __future__ import annotations

import logging
import socket
import time
from types import SimpleNamespace

import psycopg2
import pytest

from cht_sync.callbacks import task_callbacks
from cht_sync.errors import CouchDBError, SettingsError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.task_errors import Failure, TaskErrors

pytestmark = pytest.mark.integration
RAW = RawTable("v1", "couchdb")
ROWS = (
    "select task_id, subject, message, tries, run_id, map_index, tried_again from v1.couchdb_task_error order by 1, 2"
)


@pytest.fixture
def errors(database):
    with DocumentStore(postgres_connection(), RAW) as store:
        store.prepare()
    return TaskErrors(postgres_connection(), RAW)


def failure(task="sync", subject="h/medic", run="r1", message="It is gone.", **more):
    return Failure("cht_sync", task, subject, message, run, **more)


def context(task="sync", subject="h/medic", run="r1", error=None, number=1, states=None, handed=None):
    handed = {} if handed is None else handed
    sources = [{"source": "h/medic"}, {"source": "h/users"}]
    ti = SimpleNamespace(
        xcom_pull=lambda task_ids, key="", map_indexes=None: (
            sources if task_ids == "sources" else handed.get((task_ids, map_indexes))
        ),
        xcom_push=lambda key, value: handed.update({(task, 0): value}),
        dag_id="cht_sync", task_id=task, run_id=run, map_index=0, try_number=number, max_tries=1,
        get_task_states=lambda dag_id, run_ids: {run: states or {}},
    )  # fmt: skip
    person = SimpleNamespace(subject="person")
    dag = SimpleNamespace(task_ids={"sync", "models.person", "result"}, get_task=lambda name: person)
    return {"ti": ti, "task": SimpleNamespace(subject=subject), "exception": error, "dag": dag}


def test_the_newest_sentence_is_kept_with_the_number_of_tries(errors, database):
    errors.record(failure(message="First.", tried_again=True))
    errors.record(failure(message="Second.", run="r2", map_index=3))
    errors.record(failure(subject="h/users"))
    assert database.rows(ROWS) == [
        ("sync", "h/medic", "Second.", 2, "r2", 3, False),
        ("sync", "h/users", "It is gone.", 1, "r1", -1, False),
    ]
    assert database.value("select first_at < last_at from v1.couchdb_task_error where subject = 'h/medic'")
    errors.forget("cht_sync", "sync", "h/medic")
    assert [row[1] for row in database.rows(ROWS)] == ["h/users"]
    errors.forget_dag("cht_sync")
    assert database.rows(ROWS) == []


def test_a_run_that_airflow_has_ended_says_by_which_setting_until_the_next_has_run(errors, database):
    """Airflow skips its tasks without a word: its DAG processor calls back."""
    dag = SimpleNamespace(dag_id="cht_sync")
    ti = SimpleNamespace(task_id="models.dbt_run", map_index=-1)
    ended = {"dag": dag, "run_id": "r1", "ti": ti, "task": SimpleNamespace(subject=""), "reason": "timed_out"}
    task_callbacks.run_ended_early({**ended, "reason": "task_failure"})
    assert database.rows(ROWS) == []
    task_callbacks.run_ended_early(ended)
    task_callbacks.run_ended_early({"dag": dag, "run_id": "r1", "reason": "timed_out"})
    (known, unknown) = database.rows(ROWS)
    assert (known[0], unknown[0]) == ("models.dbt_run", "run")
    assert "while models.dbt_run was at work, because a run of cht_sync may take CHT_SYNC_TIMEOUT=120" in known[2]
    assert "set CHT_MODELS=asset" in known[2]
    errors.end_run("cht_sync", "r2", {"models.dbt_run": "success"})
    assert database.rows(ROWS) == []


def test_the_end_of_a_run_drops_what_nothing_fails_of_any_more(errors, database):
    for task, subject, run in (
        ("sync", "h/renamed", "r1"),  # a source that is not copied any more
        ("sync", "h/medic", "r2"),  # fails in this run too
        ("models.person", "person", "r1"),  # ran well
        ("models.late", "late", "r1"),  # was not reached
        ("models.old", "old", "r1"),  # is no task any more
    ):
        errors.record(failure(task, subject, run))
    states = {"sync_0": "failed", "models.person": "success", "models.late": "upstream_failed", "result": "running"}
    assert errors.end_run("cht_sync", "r2", states) == {("sync", -1)}
    assert [row[:2] for row in database.rows(ROWS)] == [("models.late", "late"), ("sync", "h/medic")]


def test_callbacks_keep_the_sentence_and_drop_it(errors, database):
    task_callbacks.failed(context(error=CouchDBError("CouchDB at http://h:5984\n could not be reached.")))
    task_callbacks.failed(context(error=SettingsError("Give COUCHDB_DBS."), number=2, subject="h/users"))
    assert database.rows(ROWS) == [
        ("sync", "h/medic", "CouchDB at http://h:5984 could not be reached.", 1, "r1", 0, True),
        ("sync", "h/users", "Give COUCHDB_DBS.", 1, "r1", 0, False),
    ]
    task_callbacks.succeeded(context())
    task_callbacks.succeeded_at_last(context(subject="h/users"))
    assert [row[1] for row in database.rows(ROWS)] == ["h/users"], "of many tasks only a second try looks"
    task_callbacks.succeeded_at_last(context(subject="h/users", number=2))
    assert database.rows(ROWS) == []


def test_the_last_task_of_a_run_keeps_its_own_and_ends_what_is_over(errors, database):
    errors.record(failure(run="r0"))
    task_callbacks.run_failed(
        context("result", "", "r1", SettingsError("Incomplete."), states={"sync_0": "success", "result": "failed"})
    )
    assert [row[0] for row in database.rows(ROWS)] == ["result"]
    task_callbacks.run_succeeded(context("result", "", "r2", states={"sync_0": "success"}))
    assert database.rows(ROWS) == []


def test_the_last_task_tells_of_those_that_could_not(errors, database):
    errors.record(failure(run="r1", map_index=0))
    states = {"sync_0": "failed", "sync_1": "failed", "models.person": "failed", "result": "failed"}
    task_callbacks.run_failed(context("result", "", "r1", SettingsError("Incomplete."), states=states))
    rows = {(task, works_on, number): message for task, works_on, message, _, _, number, _ in database.rows(ROWS)}
    assert set(rows) == {
        ("sync", "h/medic", 0),
        ("sync", "h/users", 1),
        ("models.person", "person", -1),
        ("result", "", 0),
    }
    assert rows["sync", "h/medic", 0] == "It is gone."
    assert "killed" in rows["sync", "h/users", 1]
    assert "killed" in rows["models.person", "person", -1]


def test_secrets_stay_out(errors, database, postgres_server):
    postgres_connection()  # whose password is masked when it is looked up
    said = f"It said {postgres_server.password} of https://u:pw@h/x and of u:{postgres_server.password}@h."
    task_callbacks.failed(context(error=SettingsError(said)))
    (message,) = (row[2] for row in database.rows(ROWS))
    assert postgres_server.password not in message
    assert "pw@" not in message


def test_a_process_that_was_lost_and_an_unexpected_error_are_kept_without_their_words(errors, database):
    task_callbacks.failed(context())
    assert "killed" in database.rows(ROWS)[0][2]
    task_callbacks.failed(context(error=KeyError("Amina")))
    assert "KeyError" in database.rows(ROWS)[0][2]
    assert "Amina" not in database.rows(ROWS)[0][2]


def test_before_the_first_copy_there_is_nowhere_to_keep_it(database):
    handed = {}
    task_callbacks.failed(context(error=SettingsError("Give COUCHDB_DBS."), handed=handed))
    assert database.tables() == set(), "nothing is written before the settings are right"
    with DocumentStore(postgres_connection(), RAW) as store:
        store.prepare()
    last = context("result", "", "r1", SettingsError("Incomplete."), states={"sync_0": "failed"}, handed=handed)
    task_callbacks.run_failed(last)
    kept = {row[0]: row[1:3] for row in database.rows(ROWS)}
    assert kept["sync"] == ("h/medic", "Give COUCHDB_DBS."), "the last task of the run notes it where it can"


@pytest.mark.parametrize("trouble", ["hangs", "refuses", "locks", "bad setting"])
def test_no_trouble_reaches_the_task_or_its_log(errors, database, trouble, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with socket.create_server(("127.0.0.1", 0)) as silent, psycopg2.connect(database.dsn) as conn:
        if trouble == "hangs":
            monkeypatch.setenv("POSTGRES_PORT", str(silent.getsockname()[1]))
        elif trouble == "refuses":
            monkeypatch.setenv("POSTGRES_PASSWORD", "wrong")
        elif trouble == "locks":
            conn.cursor().execute("lock table v1.couchdb_task_error")
        else:
            monkeypatch.setenv("POSTGRES_PORT", "no number")
        begun = time.monotonic()
        task_callbacks.failed(context(error=SettingsError("Give COUCHDB_DBS.")))
        task_callbacks.succeeded(context())
        assert time.monotonic() - begun < 2 * task_callbacks.PATIENCE_S + 5
    assert caplog.messages == [], "the last line of the log stays the last"
    assert logging.root.manager.disable == logging.NOTSET
