"""The one place that decides what is wrong: from what was read, the time and the settings to findings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from cht_sync.common.text import moment
from cht_sync.monitoring.airflow_state import Dag, Task, TaskError
from cht_sync.monitoring.finding import SEVERITY, Finding, Kind, Limits
from cht_sync.monitoring.parts import PARTS
from cht_sync.monitoring.source_state import (
    BAD_PROOFS,
    LATELY,
    Lateness,
    failing_since,
    has_failed,
    judge_source,
    last_reconciled,
)
from cht_sync.monitoring.state import Facts, Group, Model, ModelWord, Source, State

# A run that is due starts within seconds; after this the scheduler is not at work.
DUE = timedelta(minutes=5)
# Airflow's processes give a sign of life every few seconds.
GONE = timedelta(minutes=2)
# How long an alert may be sent of what is no problem.
NEW = timedelta(days=1)
# The task that fails because others do, and the one that reads the settings.
RESULT, SOURCES = "result", "sources"
DEPLOY_DAG = "cht_pipeline_deploy"


def is_shown(each: Finding) -> bool:
    """Whether it is a problem that no worse finding brings about, or news that the page tells."""
    return (each.severity != "ok" or each.kind is Kind.FORM_NOTICE) and not each.follows


def judge(facts: Facts, tasks: dict[str, Task], now: datetime, limits: Limits) -> list[Finding]:
    """All findings; the sources of ``facts`` get their states.

    :param tasks: of Airflow, the newest of each source; empty where it cannot be asked.
    """
    why = {error.subject: error for error in facts.task_errors if error.is_sync and error.subject}
    facts.sources = [
        judge_source(
            source.model_copy(update={"error": why.get(source.source)}),
            tasks.get(source.source), facts.dag, now, known=facts.known, limits=limits,
        )
        for source in facts.sources
    ]  # fmt: skip
    return find(facts, now, limits)


def find(facts: Facts, now: datetime, limits: Limits) -> list[Finding]:
    """The same for sources that have their states."""
    time = Lateness(now, limits, facts.dag)
    found = [
        *_destination(facts),
        *(_finding(Kind.PART, PARTS[each.part].what, each.since, each) for each in facts.unknown),
        *(_about_dag(facts.dag, now, facts.task_errors) if facts.dag else ()),
        *_sources(facts, time),
        *_models(facts, time),
        *(_finding(Kind.FORM, f"{each.source} {each.code}".strip(), each.since, each, told=False)
          for each in facts.form_errors),
        *(_finding(Kind.FORM_NOTICE, moment(each.made_at), each.made_at, each,
                   told=limits.form_alerts and now - each.made_at < NEW)
          for each in facts.form_notices),
    ]  # fmt: skip
    found += _tasks(facts, time, any(each.kind is Kind.SETTINGS for each in found))
    for newest, run in _runs(facts.dag, limits):
        if run.state == "failed" and not any(_is_told(each) for each in found):
            found.append(_finding(Kind.RUN, run.run_id, run.ended_at, (newest, run)))
    if not any(each.copied for each in facts.sources) and not any(is_shown(each) for each in found):
        found.append(_finding(Kind.START, "cht_sync"))
    found += (_finding(Kind.PAUSED_DAG, dag_id) for dag_id in (facts.dag.others_paused if facts.dag else ()))
    return found


def _finding(kind: Kind, subject: str, since: datetime | None = None, about: Any = None, **more: Any) -> Finding:
    return Finding(kind, subject, more.pop("severity", SEVERITY[kind]), since, about, **more)


def _destination(facts: Facts) -> Iterator[Finding]:
    if not facts.destination.reachable:
        tried = (each.task.retrying_since for each in facts.sources if each.task and each.task.retrying_since)
        yield _finding(Kind.DESTINATION, "PostgreSQL", min(tried, default=None))


def _about_dag(dag: Dag, now: datetime, task_errors: list[TaskError]) -> Iterator[Finding]:
    """Whether Airflow runs the DAG."""
    seen, triggered = dag.scheduler_seen_at, dag.triggerer_seen_at
    stands, runs = bool(seen and now - seen > GONE), bool(dag.run and dag.run.state == "running")
    if stands:
        yield _finding(Kind.SCHEDULER, "scheduler", seen)
    if dag.needs_triggerer and (triggered is None or now - triggered > GONE):
        yield _finding(Kind.TRIGGERER, "triggerer", triggered)
    if not dag.exists:
        yield _finding(Kind.DAG, "cht_sync")
    elif dag.paused:
        yield _finding(Kind.PAUSED, "cht_sync")
    elif not stands and dag.next_run_at and now - dag.next_run_at > DUE and not runs:
        yield _finding(Kind.DUE, "cht_sync", dag.next_run_at)
    # Settings that the newest run that ended could not use, and that no run has used since.
    said = next((each for each in task_errors if (each.dag_id, each.task_id) == ("cht_sync", SOURCES)), None)
    if dag.last and dag.last.state == "failed" and (said or not runs):
        for task in dag.last.failed:
            if task.name == SOURCES:
                yield _finding(Kind.SETTINGS, "settings", said.first_at if said else dag.last.ended_at, (task, said))


def _sources(facts: Facts, time: Lateness) -> Iterator[Finding]:
    for source in facts.sources:
        if source.copied:
            yield from _reading(source, facts, time)
    for source in facts.sources:
        if source.copied or (source.looked_at and time.now - source.looked_at <= LATELY):
            yield from _content(source, facts, time)
    for name, load in facts.first_loads.items():
        if load.proven_at and time.now - load.proven_at < timedelta(days=1):
            yield _finding(Kind.LOADED, name, load.proven_at, load)


def _reading(source: Source, facts: Facts, time: Lateness) -> Iterator[Finding]:
    """How it is read: one finding, and another one where changes wait."""
    looked_at, complete_at = source.looked_at, source.complete_at
    missed, behind = time.missed(source), time.behind(source)
    told = facts.known and missed
    # Who cannot reach the destination fails because of that; ids of another source are worse than a lag.
    follows = not facts.destination.reachable or (bool(source.gone_owners) and not has_failed(source.task))
    kind: Kind | None = None
    if has_failed(source.task):
        kind = Kind.SOURCE
    elif failing_since(source):
        kind = Kind.RETRYING
    elif facts.known and looked_at is None:
        kind = Kind.UNREAD
    elif facts.known and missed:
        kind = Kind.MISSED
    elif facts.known and complete_at is None:
        kind, told = Kind.LOADING, False
    if kind:
        yield _finding(kind, source.source, looked_at, source, told=told, follows=follows)
    if facts.known and behind:
        late = source.pending != 0 and complete_at is not None and time.now - complete_at > time.limits.freshness
        yield _finding(Kind.BEHIND, source.source, complete_at, source, told=late, follows=follows or bool(kind))


def _content(source: Source, facts: Facts, time: Lateness) -> Iterator[Finding]:
    """Where its documents are, or may be, not as in CouchDB."""
    name = source.source
    for owner in source.gone_owners:
        yield _finding(Kind.GONE_OWNER, f"{name}, {owner.owner}", owner.since, owner)
    if source.doubt:
        yield _finding(Kind.DOUBT, name, source.doubt.since, source)
    if older := source.older_revisions:
        # A node that has just come back lags for a moment.
        lasts = bool(older.since and time.now - older.since > time.limits.freshness)
        yield _finding(Kind.OLDER_REVISION, name, older.since, source, told=lasts)
    if source.proof and source.proof.verdict in BAD_PROOFS:
        yield _finding(Kind.PROOF, name, source.proof.at, source)
    if time.is_reconciliation_overdue(source):
        yield _finding(Kind.RECONCILIATION_OVERDUE, name, last_reconciled(source), source)
    if source.quarantined:
        held = facts.quarantine.get(name)
        yield _finding(Kind.QUARANTINE, name, held.since if held else None, (source, held))


def _models(facts: Facts, time: Lateness) -> Iterator[Finding]:
    schema = time.limits.models_schema
    by_word = {word: [each for each in facts.models if each.word is word] for word in ModelWord}
    failing, shrunk, held = (by_word[word] for word in (ModelWord.FAILING, ModelWord.SHRUNK, ModelWord.HELD))
    if shrunk:
        yield _finding(Kind.SHRUNK, schema, _since(shrunk), shrunk)
    if held:
        since = _since(failing) or min(each.failing_since or each.ended_at for each in held)
        yield _finding(Kind.HELD, schema, since, held)
    if failing:
        yield _finding(Kind.MODELS, schema, _since(failing), failing)
    for each in facts.removed:
        yield _finding(Kind.REMOVED, each.relation, each.since, each, told=False)
    for group in facts.groups:
        yield from _lag(group, time, follows=bool(failing))


def _since(models: list[Model]) -> datetime | None:
    return min((model.failing_since for model in models if model.failing_since), default=None)


def _lag(group: Group, time: Lateness, follows: bool) -> Iterator[Finding]:
    """Documents that wait for the models; between two runs some do for a minute or two, which is no lag."""
    since, schema = group.waiting_since or group.modelled_to, time.limits.models_schema
    if not group.waiting or since is None:
        return
    late = time.now - since > time.limits.freshness
    if late or group.succeeded_at is None:
        kind = Kind.MODELS_BEHIND if late else Kind.MODELS_LOADING
        subject = f"{schema} ({group.models})" if group.models else schema
        yield _finding(kind, subject, since, group, told=late, follows=follows)


def _tasks(facts: Facts, time: Lateness, settings_told: bool) -> Iterator[Finding]:
    """Tasks that fail and that no other finding covers."""
    names = {source.source for source in facts.sources if source.copied}
    failing = {model.name for model in facts.models if model.state != "ok"}
    models_dag = time.limits.models_dag
    for each in facts.task_errors:
        told = each.subject in names if each.is_sync else each.subject in failing and each.dag_id == models_dag
        told = told or each.task_id == RESULT or (each.task_id == SOURCES and settings_told)
        if told:
            continue
        lasts = time.now - each.first_at > time.limits.failing
        if each.dag_id == DEPLOY_DAG:
            # Its callback opens the incident when the last try has failed; what the task has said comes later.
            last = "deployment" in facts.incidents
            yield _finding(Kind.DEPLOYMENT, "dbt project", each.first_at, each, told=last)
        else:
            state: State = "failing" if each.dag_id in {"cht_sync", models_dag} else "warning"
            subject = f"{each.dag_id}.{each.name}"
            yield _finding(Kind.TASK, subject, each.first_at, each, told=lasts, severity=state)


def _runs(dag: Dag | None, limits: Limits) -> Iterator[tuple[str, Any]]:
    """The newest runs that have ended, with what they are called."""
    if dag and dag.last:
        another = dag.run and dag.run.run_id != dag.last.run_id
        yield "The newest run that has ended" if another else "The newest run", dag.last
    if dag and dag.models_ended:
        yield f"The newest run of {limits.models_dag} that has ended", dag.models_ended


def _is_told(each: Finding) -> bool:
    return is_shown(each) and (each.severity == "failing" or each.kind is Kind.DESTINATION)
