"""What the page shows of a source, and no finding depends on: numbers of rows, and what was read lately."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from cht_sync.monitoring.state import MOST, Load, Source

if TYPE_CHECKING:
    from cht_sync.monitoring.destination import Destination

HOURS = 24
RECENTLY = timedelta(minutes=5)
# Ordered, so that the planner takes the index whatever it believes of how the sources share the rows.
_COLLIDING = """
select wanted.source, (select count(*) from (
    select from {schema}.couchdb_collision c where c.source = wanted.source order by c.key limit %(most)s
) as counted) as number from unnest(%(sources)s::varchar[]) wanted (source)
"""
_NEWEST = """
select w.documents, w.seconds, w.ended_at from {schema}.couchdb_window w
where w.source = %(source)s order by w.ended_at desc limit 1
"""
_HOURLY = """
select least(floor(extract(epoch from %(now)s - ended_at) / 3600), %(hours)s - 1)::int as ago,
    sum(documents)::bigint as documents
from {schema}.couchdb_window
where source = %(source)s and ended_at > %(now)s - make_interval(hours => %(hours)s)
group by 1
"""
# The window in which the feed was last read from its beginning.
_BEGINNING = """
select ended_at from {schema}.couchdb_window
where source = %(source)s and seq_from is null and pages > 0 order by ended_at desc limit 1
"""
_LOADED = """
select coalesce(sum(documents), 0)::bigint as done,
    coalesce(sum(seconds) filter (where ended_at > %(now)s - interval '1 hour'), 0) as seconds,
    coalesce(sum(documents) filter (where ended_at > %(now)s - interval '1 hour'), 0)::bigint as lately
from {schema}.couchdb_window where source = %(source)s and ended_at >= %(since)s
"""
# A first load by ranges of ids, while it is under way.
_BY_RANGES = """
select sum(documents)::bigint as done, sum(greatest(expected, documents))::bigint as total, min(started_at) as since
from {schema}.couchdb_first_load where source = %(source)s and finished_at is null having count(*) > 0
"""
_ESTIMATES = """
select v.source, (v.share * c.reltuples)::bigint as documents
from pg_class c join pg_namespace n on n.oid = c.relnamespace
join pg_stats s on s.schemaname = n.nspname and s.tablename = c.relname and s.attname = 'source',
unnest(s.most_common_vals::text::text[], s.most_common_freqs) as v (source, share)
where n.nspname = %(schema)s and c.relname = %(table)s and c.reltuples >= 0
"""


def add_numbers(destination: Destination, sources: dict[str, Source]) -> None:
    """About how many rows each source has, and how many of its documents another source owns."""
    raw, values = destination.settings.raw_table, {"sources": list(sources), "most": MOST + 1}
    for row in destination.ask("collisions", lambda: destination.rows(_COLLIDING, **values), []):
        sources[row["source"]].colliding = row["number"]
    named = {"schema": raw.schema, "table": raw.table}
    for row in destination.ask("rows", lambda: destination.rows(_ESTIMATES, **named), []):
        if row["source"] in sources:
            sources[row["source"]].documents_about = row["documents"]


def add_ledger(destination: Destination, sources: list[Source], now: datetime) -> None:
    """How much was read lately, and how far first loads are.

    :param sources: with their number of rows.
    """

    def known(source: Source) -> dict[str, Any]:
        return {"source": source.source, "now": now}

    def ledger() -> None:
        for source in sources:
            source.hourly, source.rate = _hourly(destination, known(source)), _rate(destination, known(source))

    def loads() -> None:
        for source in sources:
            if source.looked_at and source.complete_at is None and source.copied:
                source.load = _load(destination, known(source), source)

    destination.ask("ledger", ledger, None)
    if destination.knows("sources") and destination.knows("first_load"):
        destination.ask("first_load", loads, None)


def _hourly(destination: Destination, known: dict[str, Any]) -> list[int]:
    counts = [0] * HOURS
    for row in destination.rows(_HOURLY, hours=HOURS, **known):
        counts[HOURS - 1 - max(row["ago"], 0)] = row["documents"]
    return counts


def _rate(destination: Destination, known: dict[str, Any]) -> float:
    for row in destination.rows(_NEWEST, **known):
        if row["seconds"] > 0 and row["ended_at"] > known["now"] - RECENTLY:
            return round(row["documents"] / row["seconds"], 1)
    return 0.0


def _load(destination: Destination, known: dict[str, Any], source: Source) -> Load:
    for ranges in destination.rows(_BY_RANGES, **known):
        row = destination.rows(_LOADED, **known | {"since": ranges["since"]})[0]
        rate, total = row["lately"] / row["seconds"] if row["seconds"] else source.rate, ranges["total"]
        left = max(total - ranges["done"], 0) / rate if total and rate else None
        return Load(done=ranges["done"], total=total, seconds_left=left, about=False)
    beginning = destination.rows(_BEGINNING, **known)
    # A value and no subquery: else the planner expects the whole table to lie behind it.
    since = beginning[0]["ended_at"] if beginning else known["now"] - timedelta(hours=1)
    row = destination.rows(_LOADED, since=since, **known)[0]
    about = not beginning
    done = (source.documents_about or 0) if about else row["done"]
    if source.pending is None:
        return Load(done=done, about=about)
    # Of the past hour: what the first minutes brought says little of the rest.
    rate = row["lately"] / row["seconds"] if row["seconds"] else source.rate
    left = source.pending / rate if rate else None
    return Load(done=done, total=done + source.pending, seconds_left=left, about=about)
