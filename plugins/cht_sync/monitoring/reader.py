"""Reads the tables of the destination, each part by itself, for findings, page and metrics."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from cht_sync.errors import SettingsError
from cht_sync.monitoring.airflow_state import TaskError
from cht_sync.monitoring.ledger import add_ledger, add_numbers
from cht_sync.monitoring.models_reader import read_lag, read_models, read_removed
from cht_sync.monitoring.state import (
    MOST,
    Doubt,
    Facts,
    FirstLoad,
    FormError,
    FormNotices,
    GoneOwner,
    IsGone,
    OlderRevisions,
    Progress,
    Proof,
    ProofVerdict,
    Quarantined,
    Source,
)
from cht_sync.redaction import of_ours

if TYPE_CHECKING:
    from cht_sync.monitoring.destination import Destination

# An error that was not seen for so long is of a task that no longer runs.
ERRORS_KEPT = timedelta(days=8)
NOTICES_SHOWN = timedelta(days=7)
_SOURCES = """
select p.source, p.seq, p.pending, p.updated_at as looked_at, p.drained_at,
    -- An old couch2pg moves the checkpoint without telling when it came to the end.
    greatest(p.drained_at, case when p.pending = 0 then p.updated_at end) as complete_at
from {schema}.couchdb_progress p order by p.source
"""
# Ordered, so that the planner takes the index whatever it believes of how the sources share the rows.
_QUARANTINED = """
select wanted.source, q.number, q.since, q.newest
from unnest(%(sources)s::varchar[]) wanted (source) cross join lateral (
    select count(*) as number, min(first_seen) as since, max(first_seen) as newest from (
        select q.first_seen from {schema}.couchdb_quarantine q where q.source = wanted.source and q.resolved_at is null
        order by q.last_seen limit %(most)s
    ) as counted
) q where q.number > 0
"""
_FIRST_LOADS = """
select source, sum(documents)::bigint as documents, sum(expected)::float8 as expected, min(started_at) as began,
    bool_and(finished_at is not null) as finished,
    case when bool_and(proven_at is not null) then max(proven_at) end as proven_at
from {schema}.couchdb_first_load group by source
"""
# Of the newest reconciliation that has ended: one that is running, or was stopped, takes no result away.
_PROOFS = """
select distinct on (source) *, max(at) filter (where equal) over (partition by source) as reconciled_at from (
    select source, run, max(planned_at) as planned, bool_and(verdict is not null) as ended,
        bool_and(coalesce(verdict in ('equal', 'repaired'), false)) as equal,
        max(coalesce(finished_at, planned_at)) as at, sum(compared)::bigint as compared,
        sum(missing + stale + wrongly_alive + altered)::bigint as differences, sum(repaired)::bigint as repaired,
        max(reason) as reason, array_agg(distinct coalesce(verdict, 'under way')) as verdicts
    from {schema}.couchdb_reconciliation where source = any(%(sources)s) and planned_at > %(since)s group by source, run
) proof order by source, ended desc, planned desc
"""
# Which run first read a source; the run ledger keeps CHT_SYNC_LEDGER_DAYS.
_FIRST_READ = """
select wanted.source, (
    select w.ended_at from {schema}.couchdb_window w where w.source = wanted.source order by w.ended_at limit 1
) as at from unnest(%(sources)s::varchar[]) wanted (source)
"""
# Results of a daily reconciliation lie within it, by the index; older ones are searched where it has nothing.
_PROVEN = timedelta(days=40)
# The worst first: one part that differs makes the whole differ, but one that has not ended says nothing yet.
_BY_WEIGHT: tuple[ProofVerdict, ...] = ("under way", "differs", "in doubt", "skipped", "repaired", "equal")
# By key, which is a hash: where there are very many, a fair sample of them. Lateral, so that rows are looked up by
# their key, and the table of documents is never read as a whole. A source that is still read is not gone, though
# neither the settings nor the DAG cht_sync may name it: an operator in a DAG of one's own copies it.
_BESIDE = """
select wanted.source, wanted.updated_at as looked_at, beside.owner, p.updated_at as owner_looked_at,
    count(*)::int as documents, min(beside.saved_timestamp) at time zone 'utc' as since
from {schema}.couchdb_progress wanted
cross join lateral (
    select owned.source as owner, c.saved_timestamp from (
        select _id, saved_timestamp from {schema}.couchdb_collision c
        where c.source = wanted.source order by c.key limit %(most)s
    ) c cross join lateral (select d.source from {schema}.{table} d where d._id = c._id offset 0) owned
) beside
left join {schema}.couchdb_progress p on p.source = beside.owner
where beside.owner <> wanted.source and coalesce(p.updated_at < now() - interval '1 day', true)
group by 1, 2, 3, 4 order by 1, 3
"""
_DOUBTS = "select source, doubt as text, doubted_at as since from {schema}.couchdb_progress where doubt is not null"
_OLDER = """
select o.source, least(count(*), %(most)s)::int as documents, min(o.first_seen) as since
from {schema}.couchdb_older_revision o where o.settled_at is null group by o.source order by o.source
"""
_TASK_ERRORS = """
select dag_id, task_id, subject, message, tries, first_at, last_at from {schema}.couchdb_task_error
where last_at > %(since)s order by first_at, dag_id, task_id, subject
"""
# Of what is in use, since a form that was uploaded again or removed needs nobody.
_FORM_ERRORS = """
select source, code, error as text, read_at as since from {schema}.form_definition
where error is not null and replaced_at is null order by source, code limit %(most)s
"""
# Of the same deployment are those of one transaction.
_FORM_NOTICES = """
select made_at, array_agg(notice order by code) as notices from {schema}.form_notice
where made_at > %(since)s group by made_at order by made_at desc
"""
_INCIDENTS = "select kind, count(*) as number from {schema}.couchdb_incident where resolved_at is null group by kind"


def read(
    destination: Destination,
    now: datetime,
    names: Iterable[str],
    is_gone: IsGone,
    *,
    ledger: bool = False,
    incidents: bool = False,
) -> Facts:
    """Everything that findings are made from; a part that cannot be read is unknown and changes nothing in the others.

    :param names: of sources that are to be copied, read or not.
    :param is_gone: whether nobody copies the source of that name, last looked at at that time, any more.
    :param ledger: whether to read what only the page shows, too; numbers that may be large stop at ``MOST`` then.
    :param incidents: whether to read which incidents are open.
    """
    facts = Facts(unknown=destination.unknown)
    facts.prepared = destination.ask("tables", destination.ready, True)
    if not facts.prepared:
        facts.sources, facts.known = [Source(source=name) for name in sorted(names)], True
        return facts
    _read_sources(destination, facts, now, names, is_gone)
    sources = {source.source: source for source in facts.sources}
    most = MOST + 1 if ledger else None
    held = destination.ask("quarantine", lambda: destination.rows(_QUARANTINED, sources=[*sources], most=most), [])
    facts.quarantine = {row.pop("source"): Quarantined(**row) for row in held}
    for name, entries in facts.quarantine.items():
        sources[name].quarantined = min(entries.number, MOST + 1)
    loads = destination.ask("first_load", lambda: destination.rows(_FIRST_LOADS), [])
    facts.first_loads = {row.pop("source"): FirstLoad(**row) for row in loads}
    if ledger:
        add_numbers(destination, sources)
        add_ledger(destination, facts.sources, now)
    _add_reconciliations(destination, facts, sources, now)
    _add_findings(destination, sources, is_gone)
    facts.groups, facts.runs = destination.ask("groups", lambda: read_lag(destination), ([], []))
    facts.models = destination.ask("models", lambda: read_models(destination, facts.groups, now), [])
    facts.removed = destination.ask("removed", lambda: read_removed(destination), [])
    ask = partial(_new_rows, destination, "couchdb_task_error", "message", _TASK_ERRORS, since=now - ERRORS_KEPT)
    errors = destination.ask("task_errors", ask, [])
    facts.task_errors = [TaskError(**row | {"message": of_ours(row["message"])}) for row in errors]
    facts.form_errors = destination.ask("forms", lambda: _form_errors(destination), [])
    ask = partial(_new_rows, destination, "form_notice", "notice", _FORM_NOTICES, since=now - NOTICES_SHOWN)
    facts.form_notices = [FormNotices(**row) for row in destination.ask("form_notices", ask, [])]
    if incidents:
        rows = destination.ask("incidents", lambda: destination.rows(_INCIDENTS), [])
        facts.incidents = {row["kind"]: row["number"] for row in rows}
    return facts


def _read_sources(destination: Destination, facts: Facts, now: datetime, names: Iterable[str], is_gone: IsGone) -> None:
    rows = destination.ask("sources", lambda: destination.rows(_SOURCES), [])
    facts.known = destination.knows("sources")
    facts.progress = {row["source"]: Progress(row.pop("seq"), row.pop("drained_at")) for row in rows}
    found = [Source(**row) for row in rows]
    found += [Source(source=name) for name in sorted({*names} - facts.progress.keys())]
    for source in found:
        source.copied = not is_gone(source.source, source.looked_at)
        source.lag_seconds = max((now - source.complete_at).total_seconds(), 0.0) if source.complete_at else None
    facts.sources = found


def _add_reconciliations(destination: Destination, facts: Facts, sources: dict[str, Source], now: datetime) -> None:
    """What the newest reconciliation of each source has found, and since when it is known to be as in CouchDB."""
    for row in destination.ask("proofs", lambda: _proofs(destination, sources, now), []):
        source, verdicts = sources[row["source"]], row["verdicts"]
        source.proof = Proof(**row, verdict=next(each for each in _BY_WEIGHT if each in verdicts))
        source.reconciled_at = row["reconciled_at"]
    for name, load in facts.first_loads.items():
        if name in sources and load.proven_at:
            source = sources[name]
            source.reconciled_at = max(source.reconciled_at or load.proven_at, load.proven_at)
    never = [name for name, source in sources.items() if source.reconciled_at is None and source.complete_at]
    if never and destination.knows("proofs") and destination.knows("first_load"):
        for row in destination.ask("ledger", lambda: destination.rows(_FIRST_READ, sources=never), []):
            sources[row["source"]].first_read_at = row["at"]


def _proofs(destination: Destination, sources: Collection[str], now: datetime) -> list[dict[str, Any]]:
    lately = destination.rows(_PROOFS, sources=list(sources), since=now - _PROVEN)
    left = {*sources} - {row["source"] for row in lately if row["ended"]}
    older = destination.rows(_PROOFS, sources=list(left), since=datetime.min) if left else []
    return [*lately, *older]


def _add_findings(destination: Destination, sources: dict[str, Source], is_gone: IsGone) -> None:
    if destination.knows("collisions"):
        for owner in destination.ask("collisions", lambda: _gone_owners(destination, is_gone), []):
            if owner.source in sources:
                sources[owner.source].gone_owners.append(owner)
    ask = partial(_new_rows, destination, "couchdb_progress", "doubt", _DOUBTS)
    for row in destination.ask("doubts", ask, []):
        if row["source"] in sources:
            sources[row["source"]].doubt = Doubt(**row)
    ask = partial(_new_rows, destination, "couchdb_older_revision", "settled_at", _OLDER, most=MOST + 1)
    for row in destination.ask("older_revisions", ask, []):
        if row["source"] in sources:
            sources[row["source"]].older_revisions = OlderRevisions(**row)


def _gone_owners(destination: Destination, is_gone: IsGone) -> list[GoneOwner]:
    """Documents in collision with rows of sources that nobody copies any more, nor has read for a day."""
    return [
        GoneOwner(**row)
        for row in destination.rows(_BESIDE, most=MOST + 1)
        if is_gone(row["owner"], row["owner_looked_at"]) and not is_gone(row["source"], row["looked_at"])
    ]


def _form_errors(destination: Destination) -> list[FormError]:
    """Of forms that are to have tables, by the settings."""
    try:
        globs = destination.settings.forms
    except SettingsError:
        globs = []
    rows = _new_rows(destination, "form_definition", "tried_at", _FORM_ERRORS, most=MOST) if globs else []
    found = [FormError(**row) for row in rows]
    return [each for each in found if not each.code or any(fnmatchcase(each.code, glob) for glob in globs)]


def _new_rows(destination: Destination, table: str, column: str, text: str, **values: Any) -> list[dict[str, Any]]:
    """Rows of a table, none before the copy has made the newest of the columns that are read."""
    return destination.rows(text, **values) if destination.has(table, column) else []
