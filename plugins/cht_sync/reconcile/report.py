"""Is the copy complete? The answer on one line for each source."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cht_sync.errors import CouchDBError, SettingsError
from cht_sync.monitoring.sentences import of_gone_owner
from cht_sync.monitoring.state import GoneOwner
from cht_sync.store.collisions import read_collisions

if TYPE_CHECKING:
    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.reconcile.postgres_side import StoredSide
    from cht_sync.reconcile.results import Summary

_COUNTS = """
select (select count(*) from {schema}.{table} where source = %(source)s and not _deleted),
    (select count(*) from {schema}.couchdb_quarantine where source = %(source)s and resolved_at is null),
    (select count(*) from {schema}.couchdb_collision where source = %(source)s and not _deleted)
"""
# One look into the index for each source, however many rows there are.
_SOURCES = """
with recursive known (source) as (
    (select source from {schema}.{table} where source is not null order by source limit 1)
    union all
    select (select t.source from {schema}.{table} t where t.source > known.source order by t.source limit 1)
    from known where known.source is not null
)
select source from known where source is not null
union select source from {schema}.couchdb_progress
"""
HEADINGS = ("source", "CouchDB", "Postgres", "quarantine", "collision", "on the way", "differences", "verdict")


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of one source; ``couchdb`` is None where the server does not say."""

    source: str
    couchdb: int | None
    postgres: int
    quarantine: int
    collision: int
    on_the_way: int
    differences: int
    verdict: str
    reasons: tuple[str, ...] = ()
    equal: bool = True

    @property
    def cells(self) -> tuple[str, ...]:
        """The line as texts, in the order of ``HEADINGS``."""
        numbers = (self.couchdb, self.postgres, self.quarantine, self.collision, self.on_the_way, self.differences)
        return (self.source, *("?" if each is None else f"{each:,}" for each in numbers), self.verdict)


def line_of(
    hook: CouchDBHook,
    database: str,
    source: str,
    stored: StoredSide,
    summary: Summary,
    *,
    configured: Iterable[str],
) -> Line:
    """The line of a source that was proven."""
    hidden = _hidden(stored, source, configured)
    reasons = [*summary.reasons, *hidden]
    try:
        documents = hook.database(database).doc_count
    except (SettingsError, CouchDBError) as error:
        documents = None
        reasons.append(str(error))
    if summary.unfinished:
        reasons.append(f"{summary.unfinished} parts of the proof were not finished.")
    left = 0 if not summary.differing_parts else summary.differences - summary.repaired
    verdict = _verdict(summary, hidden)
    return Line(
        source, documents, *_counts(stored, source), summary.on_the_way, left, verdict, tuple(reasons),
        equal=not summary.bad and not hidden and documents is not None,
    )  # fmt: skip


def vanished(stored: StoredSide, configured: Iterable[str]) -> list[Line]:
    """Lines of the sources that Postgres holds documents of and nobody copies any more."""
    names = sorted({name for (name,) in stored.rows("look for sources", _SOURCES)} - set(configured))
    lines = []
    for name in names:
        rows, quarantine, collision = _counts(stored, name)
        if rows or quarantine or collision:
            advice = (
                f"{name} is configured no more: if its server has a new name, run `python -m cht_sync rename-source"
                f" {name} NEW`; if its documents are to go, trigger cht_sync with confirm_gone={json.dumps([name])}."
            )
            verdict = "not configured"
            lines.append(Line(name, None, rows, quarantine, collision, 0, 0, verdict, (advice,), equal=False))
    return lines


def _hidden(stored: StoredSide, source: str, configured: Iterable[str]) -> list[str]:
    """A sentence for each source that is copied no more and whose rows hide documents of this one."""
    doing = "count documents beside rows of other sources"
    found = stored.ask(doing, lambda cursor: read_collisions(cursor, stored.names))
    copied = {source, *configured}
    return [
        f"{number:,} documents of {source} are hidden by rows of {owner}, which is configured no more."
        f" {of_gone_owner(GoneOwner(source=source, owner=owner, documents=number))[1]} If its documents are to go,"
        f" trigger cht_sync with confirm_gone={json.dumps([owner])}."
        for name, owner, number in found
        if name == source and owner is not None and owner not in copied
    ]


def _counts(stored: StoredSide, source: str) -> tuple[int, int, int]:
    rows, quarantine, collision = stored.rows("count documents", _COUNTS, {"source": source})[0]
    return rows, quarantine, collision


def _verdict(summary: Summary, hidden: list[str]) -> str:
    if summary.doubtful or summary.unfinished:
        return "in doubt"
    if summary.differing_parts:
        return "differs"
    if hidden:
        return "hidden"
    if summary.skipped and not summary.compared:
        return "skipped"
    return f"repaired {summary.repaired:,}" if summary.repaired else "equal"


def table(lines: list[Line]) -> str:
    """Lines as a text whose columns stand below one another, reasons behind it."""
    rows = [HEADINGS, *(line.cells for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    text = [
        "  ".join(
            cell.rjust(width) if 0 < column < len(HEADINGS) - 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([*text, *(f"{line.source}: {reason}" for line in lines for reason in line.reasons)])
