"""Reads from the small tables of the destination what people should know of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cht_sync.alerts.condition import NEWS, Condition
from cht_sync.health.findings import (
    TaskError,
    is_gone_by,
    of_sources,
    read_doubts,
    read_gone_owners,
    read_older_revisions,
    read_task_errors,
)
from cht_sync.health.models_lag import read_models_lag
from cht_sync.health.parts import PARTS, PartName
from cht_sync.health.words import counted, moment
from cht_sync.model_results import FAILED

if TYPE_CHECKING:
    from cht_sync.web.destination import Destination

_SOURCES = """
select wanted.source, p.updated_at as since
from unnest(%(sources)s::varchar[]) wanted (source)
left join {schema}.couchdb_progress p using (source)
where p.source is null or p.updated_at < %(due)s
"""
# A first load has no end yet that it could be behind of.
_BEHIND = """
select source, drained_at as since, pending from {schema}.couchdb_progress
where source = any(%(sources)s) and pending > 0 and drained_at < now() - make_interval(mins => %(minutes)s)
"""
_QUARANTINE = """
select source, count(*) as number, min(first_seen) as since, max(first_seen) as newest
from {schema}.couchdb_quarantine where resolved_at is null group by source
"""
_MODELS = """
select array_agg(name order by name) as names, min(failing_since) as since from {schema}.couchdb_model_result
where models_schema = %(models)s and failing_since is not null and status = any(%(failed)s) and {in_use}
having count(*) > 0
"""
_GUARD = """
select array_agg(name order by name) as names, min(coalesce(failing_since, ended_at)) as since
from {schema}.couchdb_model_result
where models_schema = %(models)s and (held is not null or status = 'shrunk') and {in_use}
having count(*) > 0
"""
# Of the newest proof of each source that has come to its end.
_PROOF = """
with ended as (
    select source, run, min(planned_at) as planned, max(finished_at) as since,
        array_agg(distinct verdict) filter (where verdict in ('differs', 'in doubt')) as bad
    from {schema}.couchdb_reconciliation where planned_at > now() - interval '40 days'
    group by source, run having bool_and(verdict is not null)
), newest as (select distinct on (source) * from ended order by source, planned desc)
select source, run, since, bad from newest where bad is not null
"""
_LOADED = """
select source, max(proven_at) as since, sum(documents) as documents, min(started_at) as began
from {schema}.couchdb_first_load group by source
having bool_and(proven_at is not null) and max(proven_at) > now() - interval '1 day'
"""


# What the task that fails has said is in the table of tasks; the callback that opens the incident cannot wait for it.
_DEPLOYMENT = """
select subject, split_part(text, chr(10), 1) as text, opened_at as since from {schema}.couchdb_incident
where kind = 'deployment' and resolved_at is null
"""
# What cannot be told, and is not over either, while a part is not known.
_KINDS: dict[PartName, set[str]] = {
    "sources": {"source", "behind"},
    "groups": {"freshness"},
    "quarantine": {"quarantine"},
    "models": {"models", "guard"},
    "proofs": {"proof"},
    "first_load": {NEWS},
    "collisions": {"collision"},
    "doubts": {"doubt"},
    "older_revisions": {"older_revision"},
    "task_errors": {"task"},
}
_DEPLOY_DAG, _RESULT = "cht_pipeline_deploy", "result"


class Conditions:
    """What is the case in the destination; each part is judged by itself.

    :param destination: where it is read.
    :param due: since when a source must have been read.
    """

    def __init__(self, destination: Destination, due: datetime) -> None:
        self._destination, self._settings, self._due = destination, destination.settings, due
        self._now = datetime.now(UTC)
        self._errors: list[TaskError] = []
        self._failing: set[str] = set()

    def all(self, sources: list[str] | None) -> list[Condition]:
        """Everything, whatever people were told already.

        :param sources: names of those that are to be copied; None where that is not known.
        """
        named = sources or []
        self._errors = self._destination.ask(
            "task_errors", lambda: read_task_errors(self._destination, self._now), list[TaskError]()
        )
        found = [
            *self._of("sources", lambda: [*self._sources(named), *self._behind(named)]),
            *self._of("groups", self._freshness),
            *self._of("quarantine", self._quarantine),
            *self._of("models", self._about_models),
            *self._of("proofs", self._proofs),
            *self._of("first_load", self._loaded),
            *self._of("collisions", lambda: self._gone_owners(sources)),
            *self._of("doubts", self._doubts),
            *self._of("older_revisions", self._older_revisions),
            *self._of("incidents", self._deployment),
            *self._tasks(sources),
        ]
        return found + [
            Condition("unknown", PARTS[each.part].what, each.text, each.since) for each in self._destination.unknown
        ]

    def unknown_kinds(self) -> set[str]:
        """Kinds of which nobody can say what is the case, once all were looked for."""
        return {kind for each in self._destination.unknown for kind in _KINDS.get(each.part, set())}

    def _of(self, part: PartName, question: Callable[[], Iterable[Condition]]) -> list[Condition]:
        return self._destination.ask(part, lambda: list(question()), list[Condition]())

    def _sources(self, sources: list[str]) -> Iterator[Condition]:
        errors = of_sources(self._errors)
        for row in self._destination.rows(_SOURCES, sources=sources, due=self._due):
            source, since = row["source"], row["since"]
            said = "was last read with success at that time" if since else "was never read to a good end"
            yield Condition("source", source, f"{source} {said}.{_why(errors.get(source))}", since)

    def _behind(self, sources: list[str]) -> Iterator[Condition]:
        minutes, errors = self._settings.alert_freshness_minutes, of_sources(self._errors)
        for row in self._destination.rows(_BEHIND, sources=sources, minutes=minutes):
            source, pending = row["source"], row["pending"]
            text = f"{source} was read to its end at that time; when it was last read {pending:,} changes were waiting."
            yield Condition("behind", source, text + _why(errors.get(source)), row["since"])

    def _freshness(self) -> Iterator[Condition]:
        lately = self._now - timedelta(minutes=self._settings.alert_freshness_minutes)
        lag = read_models_lag(self._destination)
        if lag.waiting_since and lag.waiting_since < lately:
            yield Condition("freshness", lag.name, lag.text, lag.waiting_since)

    def _quarantine(self) -> Iterator[Condition]:
        for row in self._destination.rows(_QUARANTINE):
            number = counted(row["number"], "document", "documents", row["number"])
            text = f"{number} of {row['source']} could not be stored."
            yield Condition("quarantine", row["source"], text, row["since"], row["newest"])

    def _about_models(self) -> Iterator[Condition]:
        schema = self._settings.dbt_schema
        for row in self._destination.rows(_MODELS, models=schema, failed=list(FAILED)):
            self._failing |= set(row["names"])
            yield Condition("models", schema, f"In schema {schema}: {', '.join(row['names'])}.", row["since"])
        for row in self._destination.rows(_GUARD, models=schema):
            self._failing |= set(row["names"])
            text = f"Held back or shrunk in schema {schema}: {', '.join(row['names'])}."
            yield Condition("guard", schema, text, row["since"])

    def _proofs(self) -> Iterator[Condition]:
        for row in self._destination.rows(_PROOF):
            text = f"The proof {row['run']} of {row['source']} says: {', '.join(row['bad'])}."
            yield Condition("proof", row["source"], text, row["since"])

    def _loaded(self) -> Iterator[Condition]:
        for row in self._destination.rows(_LOADED):
            text = f"{row['source']}: {row['documents']:,} documents since {moment(row['began'])}, proven to the end."
            yield Condition(NEWS, row["source"], text, row["since"])

    def _gone_owners(self, sources: list[str] | None) -> Iterator[Condition]:
        if sources is None:
            return
        for each in read_gone_owners(self._destination, is_gone_by(sources)):
            yield Condition("collision", f"{each.source}, {each.owner}", f"{each.text}\n{each.todo}", each.since)

    def _doubts(self) -> Iterator[Condition]:
        for each in read_doubts(self._destination):
            yield Condition("doubt", each.source, each.text, each.since)

    def _older_revisions(self) -> Iterator[Condition]:
        """Those that have lasted: a node that has just come back lags for a moment."""
        lately = self._now - timedelta(minutes=self._settings.alert_freshness_minutes)
        for each in read_older_revisions(self._destination):
            if each.since and each.since < lately:
                yield Condition("older_revision", each.source, each.text, each.since)

    def _deployment(self) -> Iterator[Condition]:
        error = next((each for each in self._errors if each.dag_id == _DEPLOY_DAG), None)
        for row in self._destination.rows(_DEPLOYMENT) if error else ():
            yield Condition("deployment", row["subject"], row["text"] + _why(error), row["since"])

    def _tasks(self, sources: list[str] | None) -> Iterator[Condition]:
        """Tasks that have failed for long, and that no other condition tells of."""
        lately = self._now - timedelta(minutes=self._settings.alert_failing_minutes)
        for each in self._errors:
            of_source = each.is_sync and (sources is None or each.subject in sources)
            of_model = each.dag_id == self._settings.models_dag and each.subject in self._failing
            told = of_source or of_model or each.dag_id == _DEPLOY_DAG or each.task_id == _RESULT
            if not told and each.first_at < lately:
                subject = f"{each.dag_id}.{each.name}"
                text = f"Task {each.name} of {each.dag_id} fails.{_why(each)}"
                yield Condition("task", subject, text, each.first_at)


def _why(error: TaskError | None) -> str:
    """What the task said itself, as a line of its own."""
    if error is None:
        return ""
    tries = counted(error.tries, "try", "tries", error.tries)
    return f"\n{error.message} Retrying since {moment(error.first_at)}, {tries} failed."
