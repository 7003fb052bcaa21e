"""The table ``couchdb_reconciliation``: the parts of each proof, and what each has found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from cht_sync.errors import SettingsError
from cht_sync.reconcile.difference import KINDS, Found
from cht_sync.reconcile.postgres_side import FORGET_LISTING, NUMBER, PRUNE_LISTING
from cht_sync.store import run_ledger

if TYPE_CHECKING:
    from psycopg2.extensions import cursor as Cursor

    from cht_sync.reconcile.postgres_side import StoredSide

INTERVAL, TOMBSTONES, BESIDE = "interval", "tombstones", "beside"
_READ, _WRITE = "read the plan of a reconciliation", "write a result"
_FORGET = "delete from {schema}.couchdb_reconciliation where run = %(run)s and source = %(source)s"
_PLAN = """
insert into {schema}.couchdb_reconciliation
    (run, source, part, interval_start, interval_end, first_key, end_key)
values (%s, %s, %s, %s, %s, %s, %s)
"""
_PART = """
select interval_start, interval_end, first_key, end_key from {schema}.couchdb_reconciliation
where run = %s and source = %s and part = %s
"""
_ALL = """
select part, verdict is null from {schema}.couchdb_reconciliation where run = %s and source = %s
order by part = 'beside', part
"""
_REPAIRED = """
update {schema}.couchdb_reconciliation set repaired = repaired + %s where run = %s and source = %s and part = %s
"""
_FINISH = """
update {schema}.couchdb_reconciliation set
    compared = %(compared)s, on_the_way = %(on_the_way)s, missing = %(missing)s, stale = %(stale)s,
    wrongly_alive = %(wrongly_alive)s, altered = %(altered)s, restamped = %(restamped)s, doubtful = %(doubtful)s,
    reason = %(reason)s, finished_at = now(),
    verdict = case when %(verdict)s = 'equal' and repaired > 0 then 'repaired' else %(verdict)s end
where run = %(run)s and source = %(source)s and part = %(part)s
"""
_SKIP = """
update {schema}.couchdb_reconciliation set verdict = 'skipped', reason = %s, finished_at = now()
where run = %s and source = %s and part = %s
"""
_SUMMARY = """
select coalesce(sum(compared), 0), coalesce(sum(on_the_way), 0), coalesce(sum(repaired), 0),
    coalesce(sum(missing + stale + wrongly_alive + altered), 0), coalesce(sum(restamped), 0),
    coalesce(sum(doubtful), 0), count(*) filter (where verdict is null), count(*) filter (where verdict = 'skipped'),
    count(*) filter (where verdict = 'differs'), array_remove(array_agg(distinct reason), null)
from {schema}.couchdb_reconciliation where run = %s and source = %s
"""
_PRUNE = "delete from {schema}.couchdb_reconciliation where planned_at < now() - make_interval(days => %(days)s)"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a comparison: a time, or ids that a range begins with and ends before; None for no bound."""

    name: str
    interval: tuple[datetime | None, datetime | None] = (None, None)
    keys: tuple[str | None, str | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Summary:
    """What all parts of a proof have found about a source."""

    compared: int
    on_the_way: int
    repaired: int
    differences: int
    restamped: int
    doubtful: int
    unfinished: int
    skipped: int
    differing_parts: int
    reasons: Sequence[str]

    @property
    def bad(self) -> bool:
        """Whether something is different still, or in doubt."""
        return bool(self.doubtful or self.unfinished or self.differing_parts)


class PartResults:
    """Plans and verdicts of one proof of one source."""

    def __init__(self, stored: StoredSide, run: str, source: str) -> None:
        self._stored, self.run, self._source = stored, run, source

    def plan(self, parts: list[Part]) -> None:
        """Notes the parts that are to be done, all or none, in place of those of an earlier plan."""

        def work(cursor: Cursor) -> None:
            values = {"run": self.run, "source": self._source}
            self._stored.names.execute(cursor, f"{_FORGET};{FORGET_LISTING}", values)
            for part in parts:
                # As JSON: an _id may hold what a text cannot.
                keys = (None if key is None else json.dumps(key) for key in part.keys)
                self._stored.names.execute(cursor, _PLAN, (self.run, self._source, part.name, *part.interval, *keys))

        self._stored.ask("plan a reconciliation", work)

    def unfinished(self) -> list[str] | None:
        """Parts without a verdict, in the order in which they can be done; None where nothing was planned."""
        found = self._stored.rows(_READ, _ALL, (self.run, self._source))
        return [part for part, missing in found if missing] if found else None

    def number(self) -> int:
        """The number of the proof in the listing."""
        return int(self._stored.rows(_READ, NUMBER, {"run": self.run, "source": self._source})[0][0])

    def part(self, name: str) -> Part:
        """A part as it was planned."""
        found = self._stored.rows(_READ, _PART, (self.run, self._source, name))
        if not found:
            raise SettingsError(
                f"couchdb_reconciliation has no part {name!r} of run {self.run!r} for {self._source}: run the task"
                " `plan` again."
            )
        start, end, *keys = found[0]
        first, last = (None if key is None else json.loads(key) for key in keys)
        return Part(name, (start, end), (first, last))

    def repaired(self, cursor: Cursor, part: str, number: int) -> None:
        """Counts a repair, in its transaction, so that one which is ended later still tells of it."""
        self._stored.names.execute(cursor, _REPAIRED, (number, self.run, self._source, part))

    def finish(self, part: str, found: Found) -> None:
        """Writes the verdict of a part."""
        values = {
            "run": self.run,
            "source": self._source,
            "part": part,
            "reason": " ".join(found.reasons) or None,
            **{name: getattr(found, name) for name in ("compared", "on_the_way", "restamped", "doubtful", "verdict")},
            **{kind: found.kinds[kind] for kind in KINDS},
        }
        self._stored.rows(_WRITE, _FINISH, values)

    def skip(self, part: str, reason: str) -> None:
        """Notes that a part could not be done, and why."""
        self._stored.rows(_WRITE, _SKIP, (reason, self.run, self._source, part))

    def summary(self) -> Summary:
        """What all parts have found."""
        *counts, reasons = self._stored.rows("read the results", _SUMMARY, (self.run, self._source))[0]
        values: list[Any] = [*map(int, counts), reasons or ()]
        return Summary(*values)

    def prune(self, days: int) -> None:
        """Forgets windows and verdicts of all sources that are too old."""
        # The last one reads what is left of the second.
        text = ";".join((run_ledger.PRUNE, _PRUNE, PRUNE_LISTING))
        self._stored.rows("forget old windows", text, {"days": days})
