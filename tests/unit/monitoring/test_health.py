"""The three renderings of whatever health may find contradict each other in nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cht_sync.monitoring.alerts.condition import conditions
from cht_sync.monitoring.alerts.sentences import ALERTS
from cht_sync.monitoring.finding import SEVERITY, Kind, Limits
from cht_sync.monitoring.health import is_shown, judge
from cht_sync.monitoring.metrics.collect import metrics_of
from cht_sync.monitoring.parts import PARTS, Unknown
from cht_sync.monitoring.sentences import CATALOGUE
from cht_sync.monitoring.state import (
    Doubt,
    Facts,
    FirstLoad,
    FormError,
    GoneOwner,
    Group,
    Model,
    ModelWord,
    OlderRevisions,
    Progress,
    Proof,
    Quarantined,
    RemovedModel,
    Source,
    TaskError,
)
from cht_sync.monitoring.web.judge import _ORDER, verdict
from cht_sync.monitoring.web.scene import Scene
from cht_sync.settings.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["couch/medic", "couch/quarantine", "failed", "sources"]
STATES = {"OK": "ok", "Failing": "failing", "Blocked: lost too many rows": "failing"}
# From an hour ahead to some days ago, with what is around the limits.
moments = st.sampled_from([-60, 0, 1, 14, 16, 59, 61, 90, 1441, 9000]).map(lambda ago: NOW - timedelta(minutes=ago))
maybe = st.none() | moments


def rarely(strategy):
    return st.one_of(st.none(), st.none(), st.none(), strategy)


@st.composite
def some_sources(draw, name):
    looked, drained = draw(maybe), draw(maybe)
    proof = st.builds(
        Proof, verdict=st.sampled_from(["equal", "repaired", "differs", "in doubt", "skipped", "under way"]),
        at=moments, compared=st.just(1), differences=st.just(0), repaired=st.just(0),
    )  # fmt: skip
    return Source(
        source=name,
        copied=draw(st.sampled_from([True, True, False])),
        looked_at=looked,
        complete_at=drained if looked else None,
        pending=draw(st.sampled_from([None, 0, 7])),
        proof=draw(rarely(proof)),
        reconciled_at=draw(maybe),
        first_read_at=draw(maybe),
        doubt=draw(rarely(st.builds(Doubt, source=st.just(name), text=st.just("Restored."), since=moments))),
        older_revisions=draw(
            rarely(st.builds(OlderRevisions, source=st.just(name), documents=st.just(2), since=moments))
        ),
        gone_owners=[GoneOwner(source=name, owner="old/medic", documents=1)] if draw(st.integers(0, 9)) == 0 else [],
    )


@st.composite
def some_facts(draw):
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3))
    facts = Facts(known=draw(st.integers(0, 9)) > 0)
    for name in names:
        source = draw(some_sources(name))
        if draw(rarely(st.just(True))):
            facts.quarantine[name] = Quarantined(draw(st.integers(1, 2000)), draw(moments), draw(moments))
            source.quarantined = min(facts.quarantine[name].number, 1001)
        facts.sources.append(source)
        facts.progress[name] = Progress("7-a", source.complete_at)
    words = draw(st.lists(st.sampled_from(list(ModelWord)), max_size=4))
    facts.models = [
        Model(name=f"m{number}", word=word, state=STATES.get(word, "paused"), ended_at=NOW, failing_since=draw(maybe))
        for number, word in enumerate(words)
    ]
    group = st.builds(
        Group, models=st.sampled_from(["", "tag:base"]), succeeded_at=maybe, modelled_to=maybe, waiting_since=maybe,
        waiting=st.integers(0, 3),
    )  # fmt: skip
    facts.groups = draw(st.lists(group, max_size=1))
    facts.removed = draw(st.lists(st.builds(RemovedModel, relation=st.just("v1.old"), since=maybe), max_size=1))
    broken = st.builds(FormError, source=st.sampled_from(NAMES), code=st.sampled_from(["a", ""]), text=st.just("x"))
    facts.form_errors = draw(st.lists(broken, max_size=2))
    error = st.builds(
        TaskError, dag_id=st.sampled_from(["cht_sync", "cht_reconcile", "cht_pipeline_deploy"]),
        task_id=st.sampled_from(["sync", "sources", "result", "x"]), subject=st.sampled_from([*NAMES, "m0", ""]),
        message=st.just("It did not answer."), tries=st.just(2), first_at=moments, last_at=st.just(NOW),
    )  # fmt: skip
    facts.task_errors = draw(
        st.lists(error, max_size=3, unique_by=lambda each: (each.dag_id, each.task_id, each.subject))
    )
    facts.incidents = draw(st.sampled_from([{}, {"deployment": 1}]))
    facts.first_loads = draw(
        st.dictionaries(
            st.sampled_from(NAMES),
            st.builds(FirstLoad, st.just(9), st.none(), moments, st.just(True), maybe),
            max_size=1,
        )
    )
    parts = draw(st.lists(st.sampled_from(["quarantine", "models", "ledger"]), max_size=1))
    facts.unknown = [Unknown(part=part, why="slow", text=f"{PARTS[part].what} is not known.") for part in parts]
    return facts


@settings(max_examples=200, deadline=None)
@given(
    some_facts(),
    st.sampled_from([5, 15, 90]),
    st.sampled_from([30, 60]),
    st.sampled_from([None, NOW - timedelta(days=1)]),
)
def test_whatever_is_found_is_told_alike(facts, failing, freshness, reconciled_since):
    limits = Limits(
        failing=timedelta(minutes=failing), freshness=timedelta(minutes=freshness), reconciled_since=reconciled_since
    )
    findings = judge(facts, {}, NOW, limits)
    page = verdict(findings, Scene(facts, NOW, limits))
    alerts = conditions(findings)
    samples = [sample for family in metrics_of(facts, findings, NOW, "v1") for sample in family.samples]

    def metric(name):
        return {tuple(sample.labels.values()): sample.value for sample in samples if sample.name == name}

    shown = [each for each in findings if is_shown(each)]
    # The page: everything that is found, the worst first.
    remarks = {(each.kind, each.state) for each in page.remarks}
    assert remarks == {(CATALOGUE[each.kind].shown, each.severity) for each in shown}
    ranks = [_ORDER.index(each.state if each.essential else "behind") for each in page.remarks]
    assert ranks == sorted(ranks)
    assert page.state == (page.remarks[0].state if page.remarks else "ok")
    # Metrics: the same, counted.
    counted = metric("cht_sync_findings")
    assert sum(counted.values()) == len(shown)
    assert {(CATALOGUE[Kind(kind)].shown, state) for kind, state in counted} == remarks
    # Alerts: what has lasted, and nothing that the page calls well.
    assert {each.kind for each in alerts} <= ALERTS.keys()
    assert len({(each.kind, each.subject) for each in alerts}) == len(alerts)
    assert page.state != "ok" or {each.kind for each in alerts} <= {"first_load"}
    assert all(each.text and "None" not in each.text for each in alerts)
    # Of each source the same.
    for source in facts.sources:
        told = {each.kind for each in alerts if each.subject == source.source}
        assert not (
            source.state == "ok"
            and told & {"source", "behind", "quarantine", "proof", "reconciliation_overdue", "doubt"}
        )
        up = metric("couch2pg_up").get(source.source.partition("/")[::2])
        assert up is None or ("source" in told) is (not up)
    if not any(each.part == "models" for each in facts.unknown):
        assert any(each.kind == "guard" for each in alerts) == any(metric("cht_sync_model_guarded").values())
        assert any(each.kind == "models" for each in alerts) == any(metric("cht_sync_model_failing").values())
    assert ("removed" in {kind for kind, _ in remarks}) == bool(metric("cht_sync_removed_relation"))


@pytest.mark.parametrize("kind", Kind)
def test_each_kind_has_a_severity_and_its_words(kind):
    entry = CATALOGUE[kind]
    assert kind in SEVERITY
    assert entry.shown or entry.alert
    assert not entry.alert or entry.alert in ALERTS


def test_a_table_that_is_left_wakes_nobody():
    assert CATALOGUE[Kind.REMOVED].alert == ""
    assert SEVERITY[Kind.REMOVED] == "warning"


@pytest.mark.parametrize(
    ("schedule", "since"),
    [
        ("0 0 * * *", datetime(2026, 2, 28, tzinfo=UTC)),
        ("@hourly", datetime(2026, 2, 28, 12, tzinfo=UTC) - timedelta(hours=1)),
        ("0 0 * * 0", datetime(2026, 2, 22, tzinfo=UTC)),
        ("none", None),
    ],
)
def test_a_reconciliation_has_a_day_from_when_it_is_due(monkeypatch, schedule, since):
    monkeypatch.setenv("CHT_RECONCILE_SCHEDULE", schedule)
    assert Limits.of(Settings(), NOW).reconciled_since == since
