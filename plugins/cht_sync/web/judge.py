"""Is the copy complete and fresh, and if not: what is wrong, since when, and what is to be done?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from cht_sync.web.about_models import about_models
from cht_sync.web.about_running import (
    UNPAUSE,
    about_dag,
    about_destination,
    about_models_run,
    about_parts,
    about_run,
    about_tasks,
)
from cht_sync.web.about_sources import BAD_PROOFS, about_sources, failing_since
from cht_sync.web.answers import Remark, Source, Verdict

if TYPE_CHECKING:
    from cht_sync.health.findings import TaskError
    from cht_sync.health.parts import Unknown
    from cht_sync.health.removed import RemovedModel
    from cht_sync.web.answers import Dag, Destination, Group, Kind, Model, State, Task

# Younger than this is fresh, whatever the schedule; older is so only while nothing waits and the next run is not due.
FRESH = timedelta(minutes=15)
# The worst first.
_ORDER: tuple[State, ...] = (
    "unknown", "failing", "paused", "retrying", "behind", "warning", "loading", "empty", "ok",
)  # fmt: skip
_HEADLINES = {
    "unknown": "Not known",
    "failing": "Something fails",
    "paused": "Paused: nothing is copied",
    "behind": "Behind: the copy is not fresh",
    "warning": "Complete, with something to look at",
    "loading": "First load under way: not complete yet",
    "empty": "Nothing has been copied yet",
    "ok": "Complete and fresh",
}
_BY_KIND: dict[Kind, str] = {
    "part": "Not known: not everything could be read",
    "scheduler": "Failing: Airflow's scheduler does not run",
    "triggerer": "Failing: Airflow's triggerer does not run",
    "settings": "Failing: nothing is copied",
    "gone_owner": "Not complete: ids belong to a source that is not configured any more",
    "shrunk": "Guard closed: models wait for a person",
    "held": "Guard closed: models wait for a person",
    "models_behind": "Behind: the models are not fresh",
    "models_loading": "The models are being built for the first time",
}
# While one of these is the case, nobody may say that the copy goes on.
_STANDS: set[Kind] = {
    "destination", "dag", "paused", "scheduler", "triggerer", "due", "settings", "source", "retrying", "behind",
}  # fmt: skip


def judge_source(source: Source, task: Task | None, dag: Dag, now: datetime, known: bool = True) -> Source:
    """A source with its state.

    :param source: what the destination knows of it.
    :param task: its newest task that has ended, or is tried again.
    :param dag: the DAG.
    :param now: the time, with a zone.
    :param known: whether the destination could tell how far sources are read.
    """
    error = source.error
    if error and source.looked_at and error.last_at <= source.looked_at:
        error = None  # it was read since
    source = source.model_copy(update={"task": task, "error": error})
    state, word = ("empty", "Not copied any more") if not source.copied else _state_of(source, dag, now, known)
    stale = source.looked_at is None or now - source.looked_at > FRESH
    trusted = state not in {"unknown", "retrying"} and not (stale and state == "behind") and not _failed(task)
    return source.model_copy(update={"state": state, "word": word, "pending_known": trusted})


def worst_first(sources: list[Source]) -> list[Source]:
    """Sources that need somebody before those that do not.

    :param sources: each with its state.
    """
    return sorted(sources, key=lambda source: (_ORDER.index(source.state), source.source))


def _failed(task: Task | None) -> bool:
    return bool(task and task.state in {"failed", "upstream_failed"})


def _state_of(source: Source, dag: Dag, now: datetime, known: bool) -> tuple[State, str]:
    if _failed(source.task):
        return "failing", "Failing"
    if source.gone_owners:
        return "failing", "Ids of another source"
    if failing_since(source):
        return "retrying", "Retrying"
    return _state_of_copy(source, dag, now) if known else ("unknown", "Not known")


def _state_of_copy(source: Source, dag: Dag, now: datetime) -> tuple[State, str]:
    if source.complete_at is None:
        return _state_of_load(source, dag, now)
    if _is_late(source.complete_at, dag, now, waiting=source.pending != 0):
        return "behind", "Behind"
    return _state_of_content(source)


def _state_of_content(source: Source) -> tuple[State, str]:
    if source.doubt:
        return "warning", "In doubt"
    if source.proof and source.proof.verdict in BAD_PROOFS:
        return "warning", f"Proof: {source.proof.verdict}"
    if source.quarantined:
        return "warning", "Quarantine"
    if source.older_revisions:
        return "warning", "Older revisions"
    return "ok", "Complete and fresh"


def _state_of_load(source: Source, dag: Dag, now: datetime) -> tuple[State, str]:
    if source.looked_at is None:
        return "loading", "Not read yet"
    return ("behind", "First load stands still") if _is_late(source.looked_at, dag, now) else ("loading", "First load")


def _is_late(at: datetime, dag: Dag, now: datetime, waiting: bool = False) -> bool:
    if now - at <= FRESH:
        return False
    if waiting:  # a run that had no more time went well, too
        return True
    last_went_well = bool(dag.last and dag.last.state == "success")
    return not (dag.next_run_at and dag.next_run_at > now and last_went_well and not dag.paused)


def judge(
    destination: Destination,
    dag: Dag,
    now: datetime,
    *,
    sources: list[Source],
    groups: list[Group],
    models: list[Model],
    models_dag: str = "cht_sync",
    unknown: Sequence[Unknown] = (),
    task_errors: Sequence[TaskError] = (),
    removed: Sequence[RemovedModel] = (),
) -> Verdict:
    """The answer in words, with all there is to know, the worst first.

    :param destination: whether it answers.
    :param dag: the DAG.
    :param now: the time, with a zone.
    :param sources: each with its state.
    :param groups: how far the models have come.
    :param models: how each model ended.
    :param models_dag: the DAG that runs them.
    :param unknown: parts of the destination that could not be read.
    :param task_errors: why tasks fail.
    :param removed: tables that no model makes any more.
    """
    sources = [source for source in sources if source.copied]
    remarks = [
        *about_destination(destination, dag, sources, now),
        *about_parts(unknown),
        *about_dag(dag, now, task_errors),
        *about_sources(sources, dag, now, destination),
        *about_models(groups, models, now, models_dag, task_errors, removed=removed, paused=dag.models_paused),
    ]
    remarks += about_tasks(task_errors, sources, models, models_dag)
    remarks += about_run(dag, remarks)
    remarks += about_models_run(dag, remarks, models_dag)
    remarks.sort(key=_rank)
    if not remarks and not sources:
        return Verdict(state="empty", headline=_HEADLINES["empty"], remarks=[_START])
    if not remarks:
        return Verdict(
            state="ok", headline=_HEADLINES["ok"], since=min(each.complete_at for each in sources if each.complete_at)
        )
    worst = remarks[0]
    headline = _headline(worst, remarks, sources, destination)
    since = worst.retrying_since or worst.since
    return Verdict(state=worst.state, headline=headline, since=since, remarks=remarks)


_START = Remark(
    state="empty",
    kind="start",
    text="No source has been read.",
    todo=f"{UNPAUSE} `python -m cht_sync check` says what they lack.",
    link="dags/cht_sync",
)


def _rank(remark: Remark) -> int:
    """What fails is worse than a part that is not known beside it."""
    beside = remark.kind == "part" and not remark.essential
    return _ORDER.index("behind" if beside else remark.state)


def _headline(worst: Remark, remarks: list[Remark], sources: list[Source], destination: Destination) -> str:
    kinds = {remark.kind for remark in remarks}
    if worst.kind == "destination":
        does = "refuses this server" if destination.refused else "does not answer"
        return f"Not known: the destination {does}"
    if worst.state == "failing":
        return _headline_of_failing(worst, kinds, sources)
    if worst.kind == "retrying":
        return _count("Retrying", [each for each in sources if each.state == "retrying"], sources)
    if worst.state == "warning" and kinds & {"loading", "unread"}:
        return "First load under way, with something to look at"
    if worst.state == "warning" and "quarantine" in kinds:
        return "Fresh, but documents are in quarantine"
    return _BY_KIND.get(worst.kind, _HEADLINES[worst.state])


def _headline_of_failing(worst: Remark, kinds: set[Kind], sources: list[Source]) -> str:
    for kind in ("scheduler", "triggerer", "settings"):
        if kind in kinds:
            return _BY_KIND[kind]
    if "source" in kinds:
        return _count("Failing", [each for each in sources if each.state == "failing" and _failed(each.task)], sources)
    if "models" in kinds and not kinds & {"shrunk", "held", "gone_owner", "task"}:
        return "Models fail" if kinds & _STANDS else "Models fail; the copy goes on"
    return _BY_KIND.get(worst.kind, _HEADLINES["failing"])


def _count(word: str, these: list[Source], sources: list[Source]) -> str:
    if len(these) == 1:
        return f"{word}: {these[0].source} is not copied"
    return f"{word}: {len(these)} of {len(sources)} sources are not copied"
