"""Reads from the small tables of the destination what people should know of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from psycopg2 import sql

from cht_sync.alerts.condition import NEWS, Condition
from cht_sync.model_results import FAILED, in_use
from cht_sync.settings import Settings

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
# The oldest document that waits, found by the index; not a count.
_FRESHNESS = """
select %(models)s, coalesce(r.models, ''), w.since at time zone 'utc' as since
from (select true) one
left join {schema}.couchdb_model_run r on r.models_schema = %(models)s and r.models = %(selected)s
cross join lateral (
    select min(saved_timestamp) as since from {schema}.{table}
    where saved_timestamp > coalesce(r.modelled_to, '-infinity')
) w
where w.since < (now() at time zone 'utc') - make_interval(mins => %(minutes)s)
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


class Conditions:
    """What is the case in the destination.

    :param cursor: of a transaction that reads.
    :param settings: the environment.
    :param due: since when a source must have been read.
    """

    def __init__(self, cursor: Any, settings: Settings, due: datetime) -> None:
        self._cursor, self._settings, self._due = cursor, settings, due
        raw = settings.raw_table
        self._names = {
            "schema": sql.Identifier(raw.schema),
            "table": sql.Identifier(raw.table),
            "in_use": in_use(raw.schema),
        }

    def all(self, sources: list[str]) -> list[Condition]:
        """Everything, whatever people were told already.

        :param sources: names of those that are to be copied.
        """
        return [
            *self._sources(sources),
            *self._behind(sources),
            *self._freshness(),
            *self._quarantine(),
            *self._about_models(),
            *self._proofs(),
            *self._loaded(),
        ]

    def _rows(self, text: str, **values: Any) -> list[Any]:
        self._cursor.execute(sql.SQL(text).format(**self._names), values)
        return list(self._cursor.fetchall())

    def _sources(self, sources: list[str]) -> Iterator[Condition]:
        for source, since in self._rows(_SOURCES, sources=sources, due=self._due):
            said = "was last read with success at that time" if since else "was never read to a good end"
            yield Condition("source", source, f"{source} {said}.", since)

    def _behind(self, sources: list[str]) -> Iterator[Condition]:
        minutes = self._settings.alert_freshness_minutes
        for source, since, pending in self._rows(_BEHIND, sources=sources, minutes=minutes):
            text = f"{source} was read to its end at that time; when it was last read {pending:,} changes were waiting."
            yield Condition("behind", source, text, since)

    def _freshness(self) -> Iterator[Condition]:
        minutes, schema = self._settings.alert_freshness_minutes, self._settings.dbt_schema
        values = {"models": schema, "selected": self._settings.dbt_selector, "minutes": minutes}
        for models_schema, models, since in self._rows(_FRESHNESS, **values):
            named = f"{models_schema} ({models})" if models else models_schema
            yield Condition("freshness", named, f"Documents wait for the models of {named} since then.", since)

    def _quarantine(self) -> Iterator[Condition]:
        for source, number, since, newest in self._rows(_QUARANTINE):
            yield Condition(
                "quarantine", source, f"{number:,} documents of {source} could not be stored.", since, newest
            )

    def _about_models(self) -> Iterator[Condition]:
        schema = self._settings.dbt_schema
        for names, since in self._rows(_MODELS, models=schema, failed=list(FAILED)):
            yield Condition("models", schema, f"In schema {schema}: {', '.join(names)}.", since)
        for names, since in self._rows(_GUARD, models=schema):
            yield Condition("guard", schema, f"Held back or shrunk in schema {schema}: {', '.join(names)}.", since)

    def _proofs(self) -> Iterator[Condition]:
        for source, run, since, bad in self._rows(_PROOF):
            yield Condition("proof", source, f"The proof {run} of {source} says: {', '.join(bad)}.", since)

    def _loaded(self) -> Iterator[Condition]:
        for source, since, documents, began in self._rows(_LOADED):
            text = f"{source}: {documents:,} documents since {began:%Y-%m-%d %H:%M} UTC, proven to the end."
            yield Condition(NEWS, source, text, since)
