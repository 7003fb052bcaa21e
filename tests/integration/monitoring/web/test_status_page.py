"""The JSON of the status page in each state, with a real database."""

from __future__ import annotations

import pytest

from cht_sync.errors import StoreError
from cht_sync.monitoring.destination import opened
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from tests.integration.monitoring.web.scenes import MEDIC, SECRET, SENTINEL, SOURCES, USERS

pytestmark = pytest.mark.integration
GOOD = dict.fromkeys(SOURCES, "success")


def status(served):
    answer = served.get("api/status")
    assert answer.status_code == 200, answer.text
    assert SECRET not in answer.text
    return answer.json()


def source_of(said, name=MEDIC):
    (source,) = [each for each in said["sources"] if each["source"] == name]
    return source


def test_headers_forbid_what_the_page_does_not_need(served):
    for path in ("", "static/status.js", "api/status"):
        headers = served.get(path).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "'unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
    assert served.get("api/status").headers["Cache-Control"] == "no-store"


def test_the_description_names_every_address(served):
    described = served.get("openapi.json").json()["paths"]
    assert set(described) == {"/api/status", "/api/quarantine", "/api/collisions", "/api/rejects"}
    assert all(set(methods) == {"get"} for methods in described.values())


def test_healthy(served, scenes):
    scenes.healthy()
    served.set_runs(states=GOOD)
    said = status(served)
    assert (said["verdict"]["state"], said["verdict"]["headline"]) == ("ok", "Complete and fresh")
    assert said["verdict"]["remarks"] == []
    assert [each["source"] for each in said["sources"]] == sorted(SOURCES)
    source = source_of(said)
    assert (source["state"], source["pending"], source["load"]) == ("ok", 0, None)
    assert source["lag_seconds"] < 60
    assert source["rate"] > 0
    assert source["documents_about"] == pytest.approx(401, abs=1)
    assert source["proof"]["verdict"] == "equal"
    assert len(source["hourly"]) == 24
    assert source["hourly"][-1] > 0
    assert source["task"]["link"].endswith("/tasks/sync/mapped/0")
    assert (source["colliding"], source_of(said, SENTINEL)["colliding"]) == (0, 1)
    (owned,) = served.get("api/collisions", source=SENTINEL).json()["items"]
    assert (owned["id"], owned["owner"]) == ("settings", MEDIC)
    assert len(said["models"]) == 7
    contact = next(model for model in said["models"] if model["name"] == "contact")
    assert (contact["state"], contact["rows"], len(contact["recent_seconds"])) == ("ok", 7420, 8)
    assert [(each["field"], each["documents"]) for each in said["rejects"]] == [("reported", 12), ("doc_type", 1)]
    documents = served.get("api/rejects", field="reported", reason="not a date in milliseconds", doc_type="data_record")
    assert len(documents.json()["items"]) == 12
    assert SECRET not in documents.text
    (untyped,) = served.get("api/rejects", field="doc_type", reason="too long for an index").json()["items"]
    assert untyped["id"] == "0-77"


def test_the_sum_of_a_day_is_that_of_the_ledger(served, scenes):
    scenes.healthy()
    (total,) = scenes.rows(
        "select sum(documents)::int from v1.couchdb_window where source = %s and ended_at > now() - interval '24 hours'",
        MEDIC,
    )[0]
    assert sum(source_of(status(served))["hourly"]) == total


def test_first_load(served, scenes):
    scenes.first_load()
    served.set_runs(states={**GOOD, MEDIC: "running"})
    said = status(served)
    assert said["verdict"]["state"] == "loading"
    source = source_of(said)
    assert (source["state"], source["complete_at"], source["lag_seconds"]) == ("loading", None, None)
    load = source["load"]
    # What an earlier load has read does not count: the ledger knows when this one began.
    assert (load["done"], load["total"], load["about"]) == (400_000, 1_650_000, False)
    assert load["seconds_left"] > 0
    assert source["task"]["state"] == "running"
    assert source_of(said, USERS)["state"] == "ok"


@pytest.mark.parametrize(
    ("before", "headline"),
    [("failed", "Sync failed"), ("success", "Complete and fresh"), (None, "Complete and fresh")],
)
def test_the_newest_run_that_has_ended_is_judged_while_another_is_under_way(served, scenes, before, headline):
    scenes.healthy()
    served.set_runs(states=GOOD, ended=False, before=before)
    said = status(served)
    assert said["verdict"]["headline"] == headline
    assert said["dag"]["run"]["state"] == "running"
    if before == "failed":
        (remark,) = said["verdict"]["remarks"]
        assert remark["text"] == "The newest run that has ended failed in models.dbt_run."
        assert "/tasks/models.dbt_run" in remark["link"]


def test_a_run_of_the_models_dag_is_judged_too(served, scenes, monkeypatch):
    monkeypatch.setenv("CHT_MODELS", "asset")
    scenes.healthy()
    served.set_runs(states=GOOD, models="failed")
    (remark,) = status(served)["verdict"]["remarks"]
    assert remark["text"] == "The newest run of cht_models that has ended failed in models.dbt_run."
    assert remark["link"].startswith("dags/cht_models/runs/")
    served.set_runs(states=GOOD, models="success")
    assert status(served)["verdict"]["headline"] == "Complete and fresh"


@pytest.mark.parametrize(("ago", "state"), [("5 minutes", "loading"), ("2 hours", "behind")])
def test_models_that_never_ran_to_a_good_end_are_not_fresh(served, scenes, ago, state):
    scenes.healthy()
    scenes.rows(
        f"delete from v1.couchdb_model_run; update v1.couchdb set saved_timestamp = now() at time zone 'utc' - interval '{ago}'"
    )
    served.set_runs(states=GOOD)
    said = status(served)
    assert said["verdict"]["state"] == state
    assert "have never completed a run" in said["verdict"]["remarks"][0]["text"]
    assert said["groups"][0]["succeeded_at"] is None


def test_failing_source(served, scenes):
    scenes.healthy()
    served.set_runs(states={**GOOD, SENTINEL: "failed"})
    said = status(served)
    assert said["verdict"]["headline"] == f"Failing: {SENTINEL} is not copied"
    (remark,) = said["verdict"]["remarks"]
    assert remark["link"].endswith("/tasks/sync/mapped/1")
    assert remark["since"] == source_of(said, SENTINEL)["complete_at"]
    assert (source_of(said, SENTINEL)["state"], source_of(said)["state"]) == ("failing", "ok")


def test_settings_that_cannot_be_used(served, scenes):
    scenes.healthy()
    served.set_runs(states={}, sources="failed")
    assert "task sources failed" in status(served)["verdict"]["remarks"][0]["text"]


def test_quarantine_without_content(served, scenes):
    scenes.quarantine()
    served.set_runs(states=GOOD)
    said = status(served)
    assert said["verdict"]["headline"] == "Fresh, but documents are in quarantine"
    assert source_of(said)["quarantined"] == 60
    first = served.get("api/quarantine", source=MEDIC)
    second = served.get("api/quarantine", source=MEDIC, offset=50)
    assert SECRET not in first.text + second.text
    assert (len(first.json()["items"]), first.json()["more"]) == (50, True)
    assert (len(second.json()["items"]), second.json()["more"]) == (10, False)
    entry = first.json()["items"][0]
    assert (entry["reason"], entry["sqlstate"]) == ("Postgres: invalid input syntax for type json: …", "22P02")
    assert len({each["id"] for each in first.json()["items"] + second.json()["items"]}) == 60


def test_guard_closed(served, scenes):
    scenes.shrunk()
    served.set_runs(states=GOOD)
    said = status(served)
    assert said["verdict"]["headline"] == "Models blocked by the row-loss check"
    models = {model["name"]: model for model in said["models"]}
    assert models["contact"]["word"] == "Blocked: lost too many rows"
    assert models["document_metadata"]["word"] == "Skipped: would delete downstream rows"
    assert models["patient"]["message"].endswith("for type integer: …")
    assert models["patient"]["lag_seconds"] > 3 * 3600 - 60
    assert {model["name"] for model in said["models"][:3]} == {"contact", "document_metadata", "patient"}
    scenes.modelled()
    assert {model["state"] for model in status(served)["models"]} == {"ok"}


def test_empty(served, scenes):
    served.set_runs()
    said = status(served)
    assert said["verdict"]["headline"] == "Nothing has been copied yet"
    assert (said["sources"], said["models"], said["rejects_known"]) == ([], [], False)


def test_paused(served, scenes):
    scenes.healthy()
    served.set_runs(states=GOOD, paused=True)
    assert status(served)["verdict"]["headline"] == "Paused: nothing is copied"


def test_other_dags_that_are_paused_are_named(served, scenes):
    scenes.healthy()
    served.set_runs(states=GOOD, others_paused=("cht_reconcile", "of_another_team"))
    said = status(served)
    assert said["dag"]["others_paused"] == ["cht_reconcile"]
    (remark,) = [each for each in said["verdict"]["remarks"] if each["kind"] == "paused_dag"]
    assert remark["text"] == "cht_reconcile is paused: PostgreSQL is not compared with CouchDB every night."
    assert (remark["link"], said["verdict"]["headline"]) == ("dags/cht_reconcile", "Complete, with warnings")


def test_a_copy_that_was_not_read_to_its_end_for_long_is_behind(served, scenes):
    scenes.healthy()
    scenes.rows(
        "update v1.couchdb_progress set drained_at = now() - interval '2 hours', pending = 7, updated_at = now()"
    )
    served.set_runs(states={**GOOD, MEDIC: "running"})
    said = status(served)
    assert source_of(said)["pending"] == 7
    assert source_of(said)["lag_seconds"] > 7000
    assert (source_of(said)["state"], said["verdict"]["headline"]) == ("behind", "Behind: the copy is not fresh")


def test_sources_are_those_of_the_newest_runs(served, scenes):
    scenes.healthy()
    scenes.rows("update v1.couchdb_progress set seq = null, pending = null, drained_at = null where source = %s", USERS)
    new = "couch.example.org/medic-logs"
    served.set_runs(states={MEDIC: "success", SENTINEL: "success", new: "running"})
    said = status(served)
    assert (source_of(said, USERS)["word"], source_of(said, USERS)["load"]) == ("No longer copied", None)
    assert (source_of(said, new)["state"], source_of(said, new)["word"]) == ("loading", "Not read yet")
    assert [remark["text"] for remark in said["verdict"]["remarks"]] == [f"{new} has not been read yet."]


def test_an_airflow_that_is_new_does_not_know_yet_what_it_copies(served, scenes):
    scenes.healthy()
    served.set_runs(states={MEDIC: "running"}, ended=False)
    assert {source["copied"] for source in status(served)["sources"]} == {True}


def test_a_run_that_failed_does_not_make_a_source_old(served, scenes):
    """A task that was lost before it began has no name."""
    scenes.healthy()
    new = "couch.example.org/medic-logs"
    served.set_runs(states={MEDIC: "success", new: "failed"})
    said = status(served)
    assert {source["copied"] for source in said["sources"]} == {True}
    assert (source_of(said, new)["state"], said["verdict"]["headline"]) == ("failing", f"Failing: {new} is not copied")


def test_models_that_the_selector_left_out_worry_nobody(served, scenes, monkeypatch):
    scenes.healthy()
    scenes.rows("update v1.couchdb_model_run set modelled_to = now() - interval '9 days'")
    scenes.rows(
        "insert into v1.couchdb_model_run (models_schema, models, modelled_to, succeeded_at)"
        " values ('v1', 'tag:base', (select max(saved_timestamp) from v1.couchdb), now())"
    )
    served.set_runs(states=GOOD)
    monkeypatch.setenv("DBT_SELECTOR", "tag:base")
    said = status(served)
    assert [(group["models"], group["waiting"]) for group in said["groups"]] == [("tag:base", 0)]
    assert said["verdict"]["headline"] == "Complete and fresh"
    assert {model["lag_seconds"] for model in said["models"]} == {0}


def test_nothing_is_counted_in_the_table_of_documents(served, scenes):
    scenes.healthy()
    scenes.rows(
        "insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc)"
        " select now() - interval '1 day', 'more-' || n, false, %s, '{}' from generate_series(1, 50000) n",
        MEDIC,
    )
    scenes.rows("analyze v1.couchdb")
    served.set_runs(states=GOOD)
    read = (
        "select pg_stat_force_next_flush(), seq_tup_read, idx_tup_fetch from pg_stat_user_tables"
        " where schemaname = 'v1' and relname = 'couchdb'"
    )
    scenes.rows(read)
    before = scenes.rows(read)[0]
    assert source_of(status(served))["documents_about"] > 40_000
    after = scenes.rows(read)[0]
    assert after[1] == before[1]  # no sequential scan
    assert (after[2] or 0) - (before[2] or 0) < 5_000


def test_a_first_load_by_ranges_tells_how_far_it_is(served, scenes):
    scenes.first_load()
    scenes.rows(
        "insert into v1.couchdb_first_load (source, part, documents, expected, seq, started_at) values"
        " (%s, 'range 001', 300000, 1000000, '1', now() - interval '10 minutes'), (%s, 'tombstones', 5, null, '1', now())",
        MEDIC, MEDIC,
    )  # fmt: skip
    served.set_runs(states=GOOD)
    (source,) = [each for each in status(served)["sources"] if each["source"] == MEDIC]
    assert source["state"] == "loading"
    assert (source["load"]["done"], source["load"]["total"], source["load"]["about"]) == (300_005, 1_000_005, False)
    assert source["load"]["seconds_left"] > 0


def test_postgres_that_does_not_answer_is_told_in_one_sentence(served, scenes):
    scenes.healthy()
    served.set_runs(states=GOOD)
    scenes.refuse_connections(True)
    try:
        said = status(served)
        listed = served.get("api/quarantine", source=MEDIC)
    finally:
        scenes.refuse_connections(False)
    assert said["verdict"]["state"] == "unknown"
    assert "Postgres refused or did not answer" in said["destination"]["message"]
    assert listed.status_code == 503
    assert "Postgres refused or did not answer" in listed.json()["detail"]


def test_nothing_can_be_written(scenes):
    scenes.healthy()
    with (
        pytest.raises(StoreError, match="read-only transaction"),
        opened(postgres_connection(), Settings(), "read the status") as destination,
    ):
        destination.rows("update {schema}.couchdb_progress set pending = 1 returning 1")
