"""The state of one source: whether it is read, up to date, and equal to CouchDB as far as is known."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from cht_sync.monitoring.airflow_state import Dag, Task
from cht_sync.monitoring.finding import Limits
from cht_sync.monitoring.state import IsGone, Source, State

# A source read since then is copied by something, such as an operator in a DAG of the team's own.
LATELY = timedelta(days=1)
BAD_PROOFS = {"differs", "in doubt"}


def is_gone(dag: Dag, tasks: Collection[str], now: datetime) -> IsGone:
    """Whether nobody copies a source any more, as Airflow's database knows.

    Not by the settings: the API server need not have those of the workers. Only a run that went well names all of its
    sources: a task that waits, or that was lost before it began, has no name.

    :param tasks: names of the sources that its newest runs copy.
    """

    def judged(source: str, looked_at: datetime | None) -> bool:
        if source in tasks:
            return False
        return dag.succeeded_lately or bool(tasks and (looked_at is None or now - looked_at > LATELY))

    return judged


def is_gone_by(copied: Collection[str] | None) -> IsGone:
    """The same where all sources that are to be copied are known; None where they are not: no source is gone then."""
    return lambda source, _looked_at: copied is not None and source not in copied


def failing_since(source: Source) -> datetime | None:
    """When the first of the tries failed that are made since; None where none failed."""
    known = [source.task.retrying_since if source.task else None, source.error.first_at if source.error else None]
    return min((each for each in known if each), default=None)


def has_failed(task: Task | None) -> bool:
    """Whether a task of Airflow has failed, by itself or because of an upstream task."""
    return bool(task and task.state in {"failed", "upstream_failed"})


def last_reconciled(source: Source) -> datetime | None:
    """When its last reconciliation succeeded, or at least ended; one that found differences is a finding of its own."""
    if source.proof and source.proof.verdict in BAD_PROOFS:
        return source.proof.at
    return source.reconciled_at


def judge_source(
    source: Source,
    task: Task | None,
    dag: Dag | None,
    now: datetime,
    *,
    known: bool = True,
    limits: Limits | None = None,
) -> Source:
    """A source with its state.

    :param task: its newest task that has ended, or is tried again.
    :param dag: None where Airflow cannot be asked.
    :param known: whether the destination could tell how far sources are read.
    """
    limits, error = limits or Limits(), source.error
    if error and source.looked_at and error.last_at <= source.looked_at:
        error = None  # it was read since
    source = source.model_copy(update={"task": task, "error": error})
    time = Lateness(now, limits, dag)
    state, word = ("empty", "No longer copied") if not source.copied else _state_of(source, time, known)
    stale = source.looked_at is None or now - source.looked_at > limits.failing
    trusted = state not in {"unknown", "retrying"} and not (stale and state == "behind") and not has_failed(task)
    return source.model_copy(update={"state": state, "word": word, "pending_known": trusted})


@dataclass(frozen=True, slots=True)
class Lateness:
    """Which sources are late, by the settings and by what Airflow knows."""

    now: datetime
    limits: Limits
    dag: Dag | None

    def missed(self, source: Source) -> bool:
        """Whether a source was not read though a run was due."""
        return source.looked_at is None or self._is_late(source.looked_at, source)

    def behind(self, source: Source) -> bool:
        """Whether a source that was up to date once has not been for too long."""
        at = source.complete_at
        if at is None or self.now - at <= self.limits.failing:
            return False
        return source.pending != 0 or self._is_late(at, source)  # a run that had no more time went well, too

    def is_reconciliation_overdue(self, source: Source) -> bool:
        """Whether no reconciliation of a source has ended since one was due; in a first load none is."""
        due, last = self.limits.reconciled_since, last_reconciled(source) or source.first_read_at
        return bool(due and last and last < due and source.complete_at)

    def _is_late(self, at: datetime, source: Source) -> bool:
        due = self.limits.due or self.now - self.limits.failing
        return self.now - at > self.limits.failing and at < due and not self._is_between_runs(source)

    def _is_between_runs(self, source: Source) -> bool:
        """Whether by what Airflow knows no run is due, and the last one went well and has read the source."""
        dag = self.dag
        if dag is None or dag.paused or dag.last is None or not self.limits.by_schedule:
            return False
        began, looked_at = dag.last.started_at, source.looked_at
        has_read = began is None or (looked_at is not None and looked_at >= began)
        return has_read and dag.last.state == "success" and bool(dag.next_run_at and dag.next_run_at > self.now)


def _state_of(source: Source, time: Lateness, known: bool) -> tuple[State, str]:
    if has_failed(source.task):
        return "failing", "Failing"
    if source.gone_owners:
        return "failing", "Duplicate IDs of a removed source"
    if failing_since(source):
        return "retrying", "Retrying"
    return _state_of_copy(source, time) if known else ("unknown", "Status unavailable")


def _state_of_copy(source: Source, time: Lateness) -> tuple[State, str]:
    if source.looked_at is None:
        return "loading", "Not read yet"
    if source.complete_at is None:
        return ("behind", "First load stalled") if time.missed(source) else ("loading", "First load")
    return ("behind", "Behind") if time.missed(source) or time.behind(source) else _state_of_content(source, time)


def _state_of_content(source: Source, time: Lateness) -> tuple[State, str]:
    if source.doubt:
        return "warning", "May be incomplete"
    if source.proof and source.proof.verdict in BAD_PROOFS:
        return "warning", "Differs from CouchDB" if source.proof.verdict == "differs" else "Reconciliation inconclusive"
    if time.is_reconciliation_overdue(source):
        return "warning", "Reconciliation overdue"
    if source.quarantined:
        return "warning", "Quarantine"
    if source.older_revisions:
        return "warning", "Older revisions"
    return "ok", "Complete and fresh"
