"""Which documents the runs of some time have touched: from the ledger, the feed and the rows themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from cht_sync.store.run_ledger import FIRST, OF_INTERVAL

if TYPE_CHECKING:
    from cht_sync.couchdb.structs import DatabaseInfo
    from cht_sync.reconcile.comparison import Comparison

# A cluster merges its shards in any order: so many changes more are read than the windows held, to be behind their end.
MARGIN = 10_000
AT_A_TIME = 10_000
REMEMBERED = 300_000
# From this version on CouchDB takes a time as ``since``.
KNOWS_TIME = (3, 6)
_STAMPED = """
select _id from {schema}.{table}
where saved_timestamp between %(from)s and %(to)s and coalesce(source, %(source)s) = %(source)s
union all
select _id from {schema}.couchdb_collision
where saved_timestamp between %(from)s and %(to)s and source = %(source)s
"""
_STAMPS = """
select saved_timestamp, count(*) from {schema}.{table}
where saved_timestamp between %(from)s and %(to)s and coalesce(source, %(source)s) = %(source)s group by 1
union all
select saved_timestamp, count(*) from {schema}.couchdb_collision
where saved_timestamp between %(from)s and %(to)s and source = %(source)s group by 1
order by 1
"""
_QUARANTINED = """
select _id from {schema}.couchdb_quarantine
where source = %(source)s and resolved_at is null and first_seen < %(end)s and last_seen >= %(start)s
    and key = sha256(convert_to(_id, 'UTF8'))
"""
# Not a cast: a text that is no number must not end the search.
_REPORTED = """
select _id from {schema}.{table}
where coalesce(source, %(source)s) = %(source)s and jsonb_typeof(doc->'reported_date') = 'number'
    and (doc->'reported_date')::numeric between %(from)s and %(to)s
"""


@dataclass(frozen=True, slots=True)
class Interval:
    """Some time, from the first moment to before the last."""

    start: datetime
    end: datetime


class TouchedDocuments:
    """Finds the documents that were touched in some time."""

    def __init__(self, comparison: Comparison, source: str, info: DatabaseInfo) -> None:
        self._comparison, self._stored = comparison, comparison.stored
        self._source, self._info = source, info

    def of(self, interval: Interval, by_reported_date: bool) -> Iterator[list[str]] | str:
        """Documents of an interval.

        Their ids come from three places, for each knows what the others do not: the feed, read again without bodies
        from where it stood then (rows that were lost since), the rows by their stamps (documents that were purged
        since), and the quarantine. ``by_reported_date`` takes rows by what their documents say instead, where the
        ledger does not reach back; those that Postgres lacks are not found then.

        :return: ids, each once, unless there are very many; or a sentence, where nobody can tell which they are.
        """
        reaches, since = self._ledger_reaches(interval)
        if reaches:
            return _once(self._of_ledger(interval))
        if by_reported_date:
            return iter([self._reported(interval)])
        if self._comparison.hook.version() >= KNOWS_TIME:
            return _once(self._of_time(interval))
        if not since:
            return f"The sync run history of {self._source} is empty: no run of cht_sync has recorded anything yet."
        return (
            f"The sync run history of {self._source} begins at {since}, not before this interval: which documents"
            " were stored then is unknown. Trigger a run with by_reported_date or full_proof."
        )

    def _ledger_reaches(self, interval: Interval) -> tuple[bool, str]:
        first = self._stored.rows("read the sync run history", FIRST, (self._source,))
        if not first:
            return False, ""
        begun, from_the_beginning = first[0]
        # Before a copy from the beginning there was nothing; but of days before it nobody knows anything either.
        reaches = begun <= interval.start or (from_the_beginning and begun < interval.end)
        return reaches, begun.strftime("%Y-%m-%d %H:%M UTC")

    def _of_ledger(self, interval: Interval) -> Iterator[list[str]]:
        values = {"source": self._source, "start": interval.start, "end": interval.end}
        windows = self._stored.rows("read the sync run history", OF_INTERVAL, values)
        # First, for what is stamped again while this goes on leaves its place.
        stamps = [(first, last) for *_, first, last, _ in windows if first is not None]
        if stamps:
            span = {"from": min(first for first, _ in stamps), "to": max(last for _, last in stamps)}
            yield from self._stamped({**values, **span})
        yield self._ids(_QUARANTINED, values)
        # Seqs of a database that was dropped since mean nothing to the one of now.
        read = [each for each in windows if each[1] and each[5] in {None, self._info.instance_start_time}]
        if number := sum(documents for _, _, documents, *_ in read):
            yield from self._replayed(read[0][0], 2 * number + MARGIN)

    def _stamped(self, values: dict[str, Any]) -> Iterator[list[str]]:
        """Rows by their stamps, some pages at a time."""
        stamps = self._stored.rows("look for stamps", _STAMPS, values)
        first, rows = None, 0
        for stamp, number in stamps:
            first, rows = first or stamp, rows + number
            if rows >= AT_A_TIME or stamp == stamps[-1][0]:
                yield self._ids(_STAMPED, {**values, "from": first, "to": stamp})
                first, rows = None, 0

    def _replayed(self, since: str | None, most: int) -> Iterator[list[str]]:
        for page in self._comparison.pages(since):
            yield [change.id for change in page.results[:most]]
            most -= len(page.results)
            if most <= 0:
                return

    def _of_time(self, interval: Interval) -> Iterator[list[str]]:
        """The feed from a point in time on, which CouchDB 3.6 finds by itself.

        Source: https://docs.couchdb.org/en/latest/api/database/changes.html
        """
        behind = self._pending(interval.end)
        for page in self._comparison.pages(_rfc3339(interval.start)):
            yield [change.id for change in page.results]
            if page.pending is not None and page.pending + MARGIN < behind:
                return

    def _pending(self, moment: datetime) -> int:
        page = next(self._comparison.pages(_rfc3339(moment)))
        return len(page.results) + (page.pending or 0)

    def _reported(self, interval: Interval) -> list[str]:
        first, end = (round(moment.timestamp() * 1000) for moment in (interval.start, interval.end))
        return self._ids(_REPORTED, {"source": self._source, "from": first, "to": end - 1})

    def _ids(self, query: str, values: dict[str, object]) -> list[str]:
        return [name for (name,) in self._stored.rows("look for documents", query, values)]


def _once(batches: Iterator[list[str]]) -> Iterator[list[str]]:
    """Leaves out what came before, as long as memory allows: to compare a document twice does no harm."""
    seen: set[str] = set()
    for batch in batches:
        fresh = [each for each in dict.fromkeys(batch) if each not in seen]
        if len(seen) < REMEMBERED:
            seen.update(fresh)
        if fresh:
            yield fresh


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
