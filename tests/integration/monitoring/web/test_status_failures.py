"""What the page says while something fails: only what is so, of each part by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.monitoring.web.airflow_runs import TRIED_AGO
from tests.integration.monitoring.web.scenes import MEDIC, SECRET, SENTINEL, SOURCES, USERS

pytestmark = pytest.mark.integration
GOOD = dict.fromkeys(SOURCES, "success")
# What is read from each table; everything else goes on being known.
PARTS = {
    "couchdb_progress": {"sources", "collisions", "doubts"},
    "couchdb": {"groups", "collisions"},
    "couchdb_quarantine": {"quarantine"},
    "couchdb_collision": {"collisions"},
    "couchdb_window": {"ledger"},
    "couchdb_reconciliation": {"proofs"},
    "couchdb_model_result": {"models"},
    "couchdb_model_run": {"groups"},
    "couchdb_task_error": {"task_errors"},
    "document_rejects": {"rejects"},
}
DOWN = "CouchDB at cht0.example.org:443 did not answer (connection refused), database {}: see whether it runs."


def status(served):
    answer = served.get("api/status")
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    return answer.json()


def remarks(said, kind):
    return [each for each in said["verdict"]["remarks"] if each["kind"] == kind]


def source_of(said, name=MEDIC):
    (source,) = [each for each in said["sources"] if each["source"] == name]
    return source


def check_the_rest(said, unknown):
    """What does not hang on the parts is there as ever."""
    assert said["destination"] == {"reachable": True, "message": "", "refused": False}
    assert [each["source"] for each in said["sources"]] == sorted(SOURCES)
    texts = " ".join(each["text"] + each["todo"] for each in said["verdict"]["remarks"])
    assert "does not answer" not in texts
    assert "No source has been read" not in texts
    assert said["verdict"]["headline"] == "Status unavailable: not everything could be read"
    expected = "unknown" if "sources" in unknown else "ok"
    assert {each["state"] for each in said["sources"]} == {expected}
    assert bool(source_of(said)["hourly"]) is ("ledger" not in unknown)
    assert (source_of(said)["proof"] is not None) is ("proofs" not in unknown)
    assert bool(said["models"]) is ("models" not in unknown)
    assert bool(said["groups"]) is ("groups" not in unknown)
    assert bool(said["rejects"]) is ("rejects" not in unknown)


@pytest.mark.parametrize("table", PARTS)
def test_a_locked_table_hides_what_is_in_it_and_the_session_in_the_way_is_named(served, scenes, table):
    scenes.healthy()
    served.set_runs(states=GOOD)
    assert status(served)["unknown"] == []
    with scenes.locked(table) as pid:
        said = status(served)
    assert {each["part"] for each in said["unknown"]} == PARTS[table]
    assert {each["why"] for each in said["unknown"]} == {"locked"}
    for each in said["unknown"]:
        assert f"nightly_vacuum (pid {pid}, user postgres, since 20" in each["text"]
        assert "last known at 20" in each["text"]
        assert each["since"]
    # One remark for one cause.
    assert len(remarks(said, "part")) == 1
    check_the_rest(said, PARTS[table])
    assert status(served)["verdict"]["headline"] == "Complete and fresh"


def test_who_waits_for_a_lock_before_the_reader_is_not_taken_for_its_holder(served, scenes):
    """An ALTER TABLE waits for a long report, and everybody behind it."""
    import threading
    from contextlib import closing

    import psycopg2

    scenes.healthy()
    served.set_runs(states=GOOD)
    dsn = scenes.database.dsn
    with closing(psycopg2.connect(dsn, application_name="report")) as report, report.cursor() as cursor:
        cursor.execute("select count(*) from v1.couchdb_progress")
        alter = psycopg2.connect(dsn, application_name="alter", options="-c lock_timeout=30s")
        with alter.cursor() as waiting:
            thread = threading.Thread(
                target=waiting.execute, args=("lock table v1.couchdb_progress in access exclusive mode",)
            )
            thread.start()
            while not scenes.rows("select pid from pg_locks where mode = 'AccessExclusiveLock' and not granted"):
                pass
            said = status(served)
            report.rollback()
            thread.join()
        alter.close()
    (part,) = [each for each in said["unknown"] if each["part"] == "sources"]
    assert [each["application"] for each in part["blockers"]] == ["report", "alter"]
    assert "locked by report (pid" in part["text"]


@pytest.mark.parametrize("table", PARTS)
def test_a_right_that_is_missing_is_named_and_hides_nothing_else(served, scenes, monkeypatch, table):
    scenes.healthy()
    served.set_runs(states=GOOD)
    with scenes.without_right(table, monkeypatch) as role:
        said = status(served)
    assert {each["part"] for each in said["unknown"]} == PARTS[table]
    assert {each["why"] for each in said["unknown"]} == {"refused"}
    assert (
        f"role '{role}' may not read it (permission denied for table {table}): grant it select on"
        in (said["unknown"][0]["text"])
    )
    check_the_rest(said, PARTS[table])


def test_what_is_slow_says_so(served, scenes, monkeypatch):
    scenes.healthy()
    served.set_runs(states=GOOD)
    monkeypatch.setattr("cht_sync.monitoring.models_reader._MODELS", "select pg_sleep(5)")
    said = status(served)
    assert [(each["part"], each["why"]) for each in said["unknown"]] == [("models", "slow")]
    assert "reading v1.couchdb_model_result took too long" in said["unknown"][0]["text"]


@pytest.mark.parametrize("table", ["couchdb_task_error", "couchdb_older_revision"])
def test_tables_that_are_not_there_yet_hide_nothing(served, scenes, table):
    scenes.healthy()
    scenes.rows(f"drop table if exists v1.{table}")
    served.set_runs(states=GOOD)
    said = status(served)
    assert (said["unknown"], said["verdict"]["headline"]) == ([], "Complete and fresh")


def test_a_destination_that_is_down_is_one_notice_and_sources_are_not_forgotten(served, scenes):
    scenes.healthy()
    served.set_runs(states=dict.fromkeys(SOURCES, "failed"))
    scenes.refuse_connections(True)
    try:
        said = status(served)
    finally:
        scenes.refuse_connections(False)
    (remark,) = said["verdict"]["remarks"]
    assert remark["kind"] == "destination"
    assert "3 of 3 sources are not copied" in remark["todo"]
    assert said["verdict"]["headline"] == "Status unavailable: PostgreSQL does not answer"
    assert {each["source"]: each["state"] for each in said["sources"]} == dict.fromkeys(SOURCES, "failing")
    assert not any(each["pending_known"] for each in said["sources"])


def test_a_destination_that_only_this_server_cannot_read_does_not_stop_the_copy(served, scenes, monkeypatch):
    scenes.healthy()
    served.set_runs(states=GOOD)
    monkeypatch.setenv("POSTGRES_PASSWORD", "an-0ld-0ne")
    said = status(served)
    (remark,) = said["verdict"]["remarks"]
    assert said["verdict"]["headline"] == "Status unavailable: PostgreSQL refuses this server"
    assert "may be that this API server alone cannot read it" in remark["todo"]
    assert {each["state"] for each in said["sources"]} == {"unknown"}


def test_one_source_of_many_that_is_down(served, scenes):
    names = scenes.many()
    scenes.fails(DOWN.format("medic-04"), names[4])
    served.set_runs(states={**dict.fromkeys(names, "success"), names[4]: "failed"})
    (remark,) = status(served)["verdict"]["remarks"]
    assert remark["text"] == f"{names[4]} cannot be copied; the other 29 are copied."
    assert remark["message"] == DOWN.format("medic-04")
    assert remark["link"].endswith("/tasks/sync/mapped/4")
    assert (remark["tries"], remark["retrying_since"] is None) == (2, False)


def test_all_sources_that_are_down_are_one_notice_for_each_cause(served, scenes):
    names = scenes.many()
    first, rest = names[::3], [name for name in names if name not in names[::3]]
    for name in first:
        scenes.fails(DOWN.format(name.rpartition("/")[2]), name)
    scenes.fails("CouchDB refused the password of 'medic': check COUCHDB_PASSWORD.", *rest)
    served.set_runs(states=dict.fromkeys(names, "failed"))
    said = status(served)
    assert said["verdict"]["headline"] == "Failing: 30 of 30 sources are not copied"
    texts = [each["text"] for each in remarks(said, "source")]
    assert sorted(text.partition(":")[0] for text in texts) == [
        "10 of 30 sources cannot be copied", "20 of 30 sources cannot be copied",
    ]  # fmt: skip
    assert not any("are copied" in text for text in texts)
    assert all(each["link"].endswith("/tasks/sync/mapped") for each in remarks(said, "source"))


def test_couchdb_that_is_down_is_told_at_the_first_try_and_what_waits_is_not_known(served, scenes):
    scenes.healthy()
    served.set_runs(states=dict.fromkeys(SOURCES, "up_for_retry"), ended=False, tried=SOURCES)
    said = status(served)
    (remark,) = said["verdict"]["remarks"]
    assert said["verdict"]["headline"] == "Retrying: 3 of 3 sources are not copied"
    assert remark["text"].startswith("All 3 sources could not be read at the last try: ")
    assert {each["state"] for each in said["sources"]} == {"retrying"}
    assert not any(each["pending_known"] for each in said["sources"])
    source = source_of(said)
    assert source["pending"] == 0  # as it was when it was last read
    assert source["task"]["retrying_since"] == remark["retrying_since"]
    assert TRIED_AGO.total_seconds() >= 60


def test_a_try_that_failed_is_told_before_airflow_knows(served, scenes):
    scenes.healthy()
    scenes.fails(DOWN.format("medic"), MEDIC, tries=1)
    served.set_runs(states=GOOD)
    said = status(served)
    (remark,) = said["verdict"]["remarks"]
    assert (source_of(said)["state"], said["verdict"]["headline"]) == ("retrying", f"Retrying: {MEDIC} is not copied")
    assert (remark["message"], remark["tries"]) == (DOWN.format("medic"), 1)
    # What it was read since is over, whatever the table still holds.
    scenes.rows("update v1.couchdb_task_error set last_at = now() - interval '1 day'")
    scenes.rows("update v1.couchdb_progress set updated_at = now()")
    assert status(served)["verdict"]["headline"] == "Complete and fresh"


def test_messages_do_not_quote_values(served, scenes):
    scenes.healthy()
    scenes.fails(f'Postgres could not store it (22P02: invalid input syntax for type json: "{SECRET}").', MEDIC)
    served.set_runs(states={**GOOD, MEDIC: "failed"})
    assert source_of(status(served))["error"]["message"].endswith("type json: …).")


@pytest.mark.parametrize(
    ("dag_id", "task_id", "state"),
    [("cht_sync", "new_documents", "failing"), ("cht_reconcile", "compare", "warning"),
     ("cht_pipeline_deploy", "build", "warning")],
)  # fmt: skip
def test_other_tasks_that_fail_are_told_with_their_reason(served, scenes, dag_id, task_id, state):
    scenes.healthy()
    scenes.fails("The hub did not answer: set DBT_LOCAL_PATH.", dag_id=dag_id, task_id=task_id)
    served.set_runs(states=GOOD)
    (remark,) = status(served)["verdict"]["remarks"]
    assert (remark["state"], remark["kind"]) == (state, "task")
    assert remark["text"] == f"Task {task_id} of {dag_id} fails."
    assert remark["message"] == "The hub did not answer: set DBT_LOCAL_PATH."
    assert remark["link"] == f"dags/{dag_id}/tasks/{task_id}"


@pytest.mark.parametrize(
    ("seen", "triggers", "kind"),
    [
        ({"SchedulerJob": timedelta(minutes=3)}, 0, "scheduler"),
        ({"SchedulerJob": timedelta(seconds=5), "TriggererJob": timedelta(minutes=3)}, 1, "triggerer"),
        ({"SchedulerJob": timedelta(seconds=5)}, 1, "triggerer"),
        ({"SchedulerJob": timedelta(seconds=5), "TriggererJob": timedelta(seconds=5)}, 1, None),
        ({"SchedulerJob": timedelta(seconds=5), "TriggererJob": timedelta(minutes=3)}, 0, None),
    ],
)
def test_processes_of_airflow_that_are_gone(served, scenes, seen, triggers, kind):
    scenes.healthy()
    served.set_runs(states=GOOD, seen=seen, triggers=triggers, due=timedelta(minutes=-6 if kind == "scheduler" else 1))
    verdict = status(served)["verdict"]
    assert [each["kind"] for each in verdict["remarks"]] == ([kind] if kind else [])
    assert verdict["headline"] == (f"Failing: Airflow's {kind} does not run" if kind else "Complete and fresh")


def test_collisions_with_a_source_that_is_not_configured_any_more_are_a_finding(served, scenes):
    scenes.healthy()
    old = scenes.renamed()
    served.set_runs(states=GOOD)
    said = status(served)
    (remark,) = said["verdict"]["remarks"]
    assert remark["kind"] == "gone_owner"
    assert remark["text"] == (
        f"400 documents of {MEDIC} cannot reach the models: their rows belong to {old}, which is no longer configured."
        f" 1 document of {SENTINEL} cannot reach the models: its row belongs to {old}, which is no longer configured."
    )
    assert f"`python -m cht_sync rename-source {old} {MEDIC}`" in remark["todo"]
    assert "'instance'" in remark["todo"]
    assert remark["lists"] == [{"name": "collisions", "source": name} for name in (MEDIC, SENTINEL)]
    assert said["verdict"]["headline"] == "Not complete: ids belong to a source that is no longer configured"
    assert (source_of(said)["state"], source_of(said, old)["copied"]) == ("failing", False)
    # While no run goes well, only a source that was not looked at for a day is taken for gone.
    served.set_runs(states={**GOOD, USERS: "failed"})
    assert len(remarks(status(served), "gone_owner")) == 1
    scenes.rows("update v1.couchdb_progress set updated_at = now()")
    assert remarks(status(served), "gone_owner") == []
    # Nor where all runs go well: a DAG of one's own may copy it.
    served.set_runs(states=GOOD)
    assert remarks(status(served), "gone_owner") == []


def test_doubts_and_older_revisions_are_findings(served, scenes):
    scenes.healthy()
    scenes.doubt(SENTINEL)
    served.set_runs(states=GOOD)
    said = status(served)
    remarks = said["verdict"]["remarks"]
    assert [each["kind"] for each in remarks] == ["doubt", "older_revision"]
    assert remarks[0]["text"] == f"{SENTINEL} was loaded from a CouchDB cluster."
    assert f"an older revision than PostgreSQL holds of 2 documents of {SENTINEL}, or none." in remarks[1]["text"]
    for remedy in (f'accept_older=["{SENTINEL}"]', "CHT_OLDER_AFTER minutes", "only lagging"):
        assert remedy in remarks[1]["todo"]
    assert source_of(said, SENTINEL)["word"] == "May be incomplete"
    assert said["verdict"]["headline"] == "Complete, with warnings"
