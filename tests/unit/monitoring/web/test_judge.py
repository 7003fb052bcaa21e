"""What the status page says first, and of each source."""

from datetime import UTC, datetime, timedelta

import pytest

from cht_sync.monitoring.airflow_state import Dag, Run, Task
from cht_sync.monitoring.finding import Limits
from cht_sync.monitoring.health import find
from cht_sync.monitoring.source_state import judge_source
from cht_sync.monitoring.state import Destination, Facts, Group, Load, Model, Proof, Source
from cht_sync.monitoring.web.judge import verdict as verdict_of
from cht_sync.monitoring.web.judge import worst_first
from cht_sync.monitoring.web.scene import Scene

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HERE = Destination(reachable=True)


def ago(**span):
    return NOW - timedelta(**span)


def a_dag(state="success", paused=False, due=timedelta(minutes=1), failed=()):
    run = Run(
        run_id="r", state=state, started_at=ago(minutes=2), ended_at=ago(minutes=1), link="r", failed=list(failed)
    )
    return Dag(exists=True, paused=paused, next_run_at=NOW + due, run=run)


def a_source(name="h/medic", task="success", dag=None, **fields):
    known = {"looked_at": ago(seconds=30), "complete_at": ago(seconds=30), "pending": 0, **fields}
    newest = Task(name="sync", state=task, link="t") if task else None
    return judge_source(Source(source=name, **known), newest, dag or a_dag(), NOW)


def a_model(word="Failing", state="failing", **fields):
    return Model(name="contact", state=state, word=word, ended_at=NOW, failing_since=ago(hours=2), **fields)


def judge(destination, dag, now, models_dag="cht_sync", **known):
    facts, limits = Facts(destination=destination, known=True, dag=dag, **known), Limits(models_dag=models_dag)
    return verdict_of(find(facts, now, limits), Scene(facts, now, limits))


def said(*sources, dag=None, groups=(), models=(), destination=HERE):
    return judge(destination, dag or a_dag(), NOW, sources=list(sources), groups=list(groups), models=list(models))


def said_within(limits, source):
    facts = Facts(destination=HERE, known=True, dag=a_dag(), sources=[source])
    return verdict_of(find(facts, NOW, limits), Scene(facts, NOW, limits))


def test_all_is_well():
    verdict = said(a_source(), a_source("h/users", complete_at=ago(seconds=50)))
    assert (verdict.state, verdict.headline, verdict.remarks) == ("ok", "Complete and fresh", [])
    assert verdict.since == ago(seconds=50)


def test_nothing_copied_yet_says_where_to_begin():
    verdict = said()
    assert verdict.state == "empty"
    assert "cht_sync check" in verdict.remarks[0].todo


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({}, "ok"),
        ({"task": None}, "ok"),
        ({"task": "failed"}, "failing"),
        ({"task": "upstream_failed"}, "failing"),
        ({"complete_at": ago(minutes=14)}, "ok"),
        ({"complete_at": None, "load": Load(done=1)}, "loading"),
        ({"complete_at": None, "looked_at": ago(hours=1), "dag": a_dag(due=timedelta(hours=-1))}, "behind"),
        ({"complete_at": ago(minutes=16), "dag": a_dag(due=timedelta(minutes=-14))}, "behind"),
        # An hourly schedule: the next run is not due, and the last one went well.
        ({"complete_at": ago(minutes=50), "dag": a_dag(due=timedelta(minutes=10))}, "ok"),
        ({"complete_at": ago(minutes=50), "dag": a_dag("failed", due=timedelta(minutes=10))}, "behind"),
        ({"complete_at": ago(minutes=50), "dag": a_dag(paused=True)}, "behind"),
        # That run went well, but had no more time: a backlog is no freshness.
        ({"complete_at": ago(minutes=50), "pending": 7, "dag": a_dag(due=timedelta(minutes=10))}, "behind"),
        ({"complete_at": ago(minutes=50), "pending": None, "dag": a_dag(due=timedelta(minutes=10))}, "behind"),
        ({"complete_at": ago(minutes=14), "pending": 7}, "ok"),
        ({"complete_at": None, "looked_at": None}, "loading"),
        ({"complete_at": None, "looked_at": None, "task": "failed"}, "failing"),
        ({"complete_at": ago(days=30), "copied": False}, "empty"),
        ({"quarantined": 1}, "warning"),
        ({"proof": Proof(verdict="differs", at=NOW, compared=1, differences=1, repaired=0)}, "warning"),
        ({"proof": Proof(verdict="in doubt", at=NOW, compared=1, differences=1, repaired=0)}, "warning"),
        ({"proof": Proof(verdict="repaired", at=NOW, compared=1, differences=1, repaired=1)}, "ok"),
        # Two databases share "settings": that is as it should be.
        ({"colliding": 3}, "ok"),
    ],
)
def test_state_of_a_source(fields, state):
    assert a_source(**fields).state == state


def test_a_backlog_is_told_with_how_much_waits():
    verdict = said(a_source(complete_at=ago(hours=30), pending=1_000_000))
    assert verdict.headline == "Behind: the copy is not fresh"
    assert verdict.remarks[0].text == "h/medic is not up to date for 1 d 6 h; 1,000,000 changes wait."


def test_a_source_that_nobody_copies_any_more_says_nothing_of_the_others():
    gone = a_source("h/old", complete_at=None, looked_at=ago(days=30), copied=False, quarantined=3)
    assert said(gone, a_source()).headline == "Complete and fresh"
    assert said(gone).state == "empty"


def test_a_source_that_was_never_read_is_not_complete():
    verdict = said(a_source("h/new", complete_at=None, looked_at=None), a_source())
    assert (verdict.state, verdict.remarks[0].text) == ("loading", "h/new has not been read yet.")


def test_the_worst_comes_first():
    sources = [a_source("h/a"), a_source("h/b", quarantined=2), a_source("h/c", task="failed")]
    assert [source.source for source in worst_first(sources)] == ["h/c", "h/b", "h/a"]
    verdict = said(*sources)
    assert [remark.state for remark in verdict.remarks] == ["failing", "warning"]
    assert verdict.headline == "Failing: h/c is not copied"
    assert said(a_source(task="failed"), a_source("h/x", task="failed")).headline == (
        "Failing: 2 of 2 sources are not copied"
    )


def test_a_destination_that_does_not_answer():
    verdict = said(destination=Destination(reachable=False, message="Postgres did not answer."))
    assert (verdict.state, verdict.remarks[0].text) == ("unknown", "Postgres did not answer.")


@pytest.mark.parametrize(
    ("dag", "state", "text"),
    [
        (Dag(exists=False), "paused", "does not know the DAG"),
        (a_dag(paused=True), "paused", "is paused"),
        (a_dag(due=timedelta(minutes=-6)), "behind", "is due and has not started"),
        (a_dag("failed", failed=[Task(name="sources", state="failed", link="t")]), "failing", "task sources failed"),
    ],
)
def test_a_dag_that_does_not_run(dag, state, text):
    verdict = said(a_source(), dag=dag)
    assert verdict.state == state
    assert text in verdict.remarks[0].text


@pytest.mark.parametrize("verdict", [said(), said(a_source(), dag=a_dag(paused=True))])
def test_who_is_told_to_unpause_is_told_every_dag_that_is_always_there(verdict):
    for dag in ("cht_sync", "cht_pipeline_deploy", "cht_reconcile", "cht_data_tests"):
        assert dag in verdict.remarks[0].todo


def test_a_run_that_failed_elsewhere_is_told_once():
    failed = [Task(name=name, state="failed", link=name) for name in ("new_documents", "result")]
    verdict = said(a_source(), dag=a_dag("failed", failed=failed))
    (remark,) = verdict.remarks
    assert (verdict.state, remark.text, remark.link) == (
        "failing",
        "The newest run failed in new_documents.",
        "new_documents",
    )
    assert len(said(a_source(task="failed"), dag=a_dag("failed", failed=failed)).remarks) == 1


@pytest.mark.parametrize("dag", [a_dag("running", due=timedelta(minutes=-30)), a_dag(due=timedelta(minutes=-4))])
def test_a_run_that_is_under_way_or_just_due_is_no_trouble(dag):
    assert said(a_source(), dag=dag).state == "ok"


def test_a_first_load_says_what_is_left():
    source = a_source(complete_at=None, load=Load(done=10, total=100, seconds_left=7500.0))
    assert said(source).remarks[0].text == "h/medic is being loaded: about 2 h 5 min left."


@pytest.mark.parametrize(
    ("model", "headline"),
    [
        (a_model(), "Models fail; the copy continues"),
        (a_model("Blocked: lost too many rows"), "Models blocked by the row-loss check"),
        (a_model("Skipped: would delete downstream rows", "paused"), "Models blocked by the row-loss check"),
    ],
)
def test_models_that_fail_or_wait(model, headline):
    verdict = said(a_source(), models=[model])
    assert (verdict.state, verdict.headline) == ("failing", headline)
    assert "contact" in verdict.remarks[0].text


def test_models_of_a_dag_of_their_own_are_looked_for_there():
    group = Group(succeeded_at=NOW, modelled_to=ago(hours=2), waiting=5)
    for known in ({"models": [a_model()]}, {"models": [a_model("Blocked: lost too many rows")]}, {"groups": [group]}):
        verdict = judge(
            HERE, a_dag(), NOW, sources=[a_source()], **{"models": [], "groups": [], **known}, models_dag="cht_models"
        )
        assert [remark.link for remark in verdict.remarks] == ["dags/cht_models"]


def test_models_that_wait_for_a_failing_one_are_counted_once():
    verdict = said(a_source(), models=[a_model(), a_model("Skipped: upstream model failed", "paused")])
    assert len(verdict.remarks) == 1


def a_run(state, **fields):
    return Run(run_id=state, state=state, started_at=ago(hours=2), ended_at=ago(minutes=3), link=state, **fields)


def test_the_newest_run_that_has_ended_is_judged_not_the_one_that_has_just_begun():
    begun = Run(run_id="new", state="running", started_at=ago(seconds=9), ended_at=None, link="new")
    failed = [Task(name="models.dbt_run", state="failed", link="t")]
    dag = a_dag().model_copy(update={"run": begun, "ended": a_run("failed", failed=failed)})
    verdict = said(a_source(), dag=dag)
    assert (verdict.state, verdict.remarks[0].text) == (
        "failing",
        "The newest run that has ended failed in models.dbt_run.",
    )
    assert said(a_source(), dag=dag.model_copy(update={"ended": a_run("success")})).state == "ok"
    # An hourly schedule: a run that has failed is no sign of a source that has nothing new.
    hourly = dag.model_copy(update={"next_run_at": NOW + timedelta(minutes=10)})
    assert a_source(complete_at=ago(minutes=50), dag=hourly).state == "behind"


def test_settings_that_a_run_has_taken_since_are_told_no_more():
    failed = [Task(name="sources", state="failed", link="t")]
    begun = Run(run_id="new", state="running", started_at=ago(hours=1), ended_at=None, link="new")
    dag = a_dag("failed", failed=failed)
    assert said(a_source(), dag=dag).remarks[0].kind == "settings"
    dag = dag.model_copy(update={"run": begun, "ended": dag.run})
    assert [each.kind for each in said(a_source(), dag=dag).remarks] == ["run"]


def test_a_run_of_the_models_dag_that_failed_is_told_too():
    dag = a_dag().model_copy(update={"models_ended": a_run("failed")})
    verdict = judge(HERE, dag, NOW, sources=[a_source()], groups=[], models=[], models_dag="cht_models")
    assert (verdict.state, verdict.remarks[0].text) == (
        "failing",
        "The newest run of cht_models that has ended failed.",
    )


@pytest.mark.parametrize(
    ("since", "state", "headline"),
    [
        ({"minutes": 3}, "loading", "The models are being built for the first time"),
        ({"hours": 2}, "behind", "Behind: the models are not fresh"),
    ],
)
def test_models_that_never_ran_to_a_good_end_are_not_fresh(since, state, headline):
    verdict = said(a_source(), groups=[Group(waiting=5, waiting_since=ago(**since))])
    assert (verdict.state, verdict.headline) == (state, headline)
    assert verdict.remarks[0].text == "The models have never completed a run; 5 documents wait for them."
    assert said(a_source(), groups=[Group(waiting=0)]).state == "ok"


def test_a_paused_dag_of_the_models_is_named():
    group = Group(waiting=5, waiting_since=ago(hours=2))
    dag = a_dag().model_copy(update={"models_paused": True})
    verdict = judge(HERE, dag, NOW, sources=[a_source()], groups=[group], models=[], models_dag="cht_models")
    assert verdict.remarks[0].todo == "Unpause cht_models."


def test_a_document_that_has_just_come_is_no_lag_though_the_one_before_is_old():
    group = Group(succeeded_at=NOW, modelled_to=ago(days=3), waiting=1, waiting_since=ago(minutes=1))
    assert said(a_source(), groups=[group]).state == "ok"


@pytest.mark.parametrize(("minutes", "waiting", "state"), [(90, 5, "behind"), (90, 0, "ok"), (3, 5, "ok")])
def test_models_that_lag(minutes, waiting, state):
    group = Group(succeeded_at=NOW, modelled_to=ago(minutes=minutes), waiting=waiting)
    assert said(a_source(), groups=[group]).state == state


def test_other_dags_that_are_paused_are_named_with_what_does_not_happen():
    dag = a_dag().model_copy(update={"others_paused": ["cht_reconcile", "cht_alerts"]})
    (remark,) = said(a_source(), dag=dag).remarks
    assert remark.text == (
        "cht_reconcile is paused: PostgreSQL is not compared with CouchDB every night. cht_alerts is paused: no alert is sent."
    )
    assert (remark.kind, remark.state, remark.todo) == (
        "paused_dag", "warning", "Unpause them, unless that is what you want.",
    )  # fmt: skip


def test_a_reconciliation_that_is_overdue_is_named_with_its_remedy():
    source = a_source(reconciled_at=ago(days=3))
    (remark,) = said_within(Limits(reconciled_since=ago(days=2)), source).remarks
    assert remark.text == f"No reconciliation of {source.source} has succeeded since."
    assert "trigger it" in remark.todo
    assert (remark.link, remark.since) == ("dags/cht_reconcile", ago(days=3))
    assert said_within(Limits(reconciled_since=ago(days=4)), source).state == "ok"
