"""The table ``couchdb_first_load``: which parts a first load has, and how far each has come."""

from __future__ import annotations

import json
from dataclasses import dataclass

from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.id_ranges import Range
from cht_sync.errors import CheckpointConflictError
from cht_sync.postgres.lookups import value_of
from cht_sync.postgres.query import Names
from cht_sync.store.checkpoints import Checkpoints

# What the feed is walked for: no listing names tombstones, and it may have left others out.
TOMBSTONES, REST = "tombstones", "rest"
_UNFINISHED = """
select part, first_key, end_key, position, done, documents, expected, seq, instance_start_time
from {schema}.couchdb_first_load where source = %s and finished_at is null order by part = 'tombstones' desc, part
"""
_FORGET = "delete from {schema}.couchdb_first_load where source = %s"
_PLAN = """
insert into {schema}.couchdb_first_load (source, part, first_key, end_key, expected, seq, instance_start_time)
values (%s, %s, %s, %s, %s, %s, %s) on conflict do nothing
"""
# Again after a commit whose answer was lost: then it stands there already.
_ADVANCE = """
update {schema}.couchdb_first_load
set position = %(position)s, documents = %(documents)s, done = %(done)s, updated_at = now()
where source = %(source)s and part = %(part)s and finished_at is null
    and (position is not distinct from %(before)s or position is not distinct from %(position)s)
"""
_FINISH = "update {schema}.couchdb_first_load set finished_at = now() where source = %s and finished_at is null"
_UNPROVEN = """
select to_char(started_at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS.US') from {schema}.couchdb_first_load
where source = %s and finished_at is not null and proven_at is null limit 1
"""
_PROVEN = "update {schema}.couchdb_first_load set proven_at = now() where source = %s and proven_at is null"


@dataclass(slots=True)
class LoadPart:
    """One part of a first load.

    :param name: unique in the load of a source.
    :param keys: the range of ids; both None for tombstones, and for a database of one range.
    :param position: ``_id`` of the last document stored, or the seq that the walk for tombstones has come to.
    :param expected: about how many there are; None where nobody knows.
    """

    name: str
    keys: Range = (None, None)
    position: str | None = None
    done: bool = False
    documents: int = 0
    expected: int | None = None


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """A first load that is under way; ``seq`` is where the feed stood before anything was read."""

    parts: list[LoadPart]
    seq: str
    instance: str | None


class LoadParts:
    """Reads and writes the parts, each time inside a transaction of whoever calls."""

    def __init__(self, names: Names, source: str) -> None:
        self._names, self._source = names, source

    def unfinished(self, cursor: Cursor) -> LoadPlan | None:
        """The load that is under way."""
        rows = self._names.execute(cursor, _UNFINISHED, (self._source,)).fetchall()
        if not rows:
            return None
        parts = [
            LoadPart(name, (_id(first), _id(end)), position if name in {TOMBSTONES, REST} else _id(position), *others)
            for name, first, end, position, *others, _, _ in rows
        ]
        return LoadPlan(parts, rows[0][-2], rows[0][-1])

    def plan(self, cursor: Cursor, plan: LoadPlan) -> None:
        """Notes a load that begins, in place of any earlier one."""
        self.forget(cursor)
        for part in plan.parts:
            self.add(cursor, plan, part)
        Checkpoints(self._names).begin_load(cursor, self._source, plan.instance)

    def forget(self, cursor: Cursor) -> None:
        """Takes back every part."""
        self._names.execute(cursor, _FORGET, (self._source,))

    def add(self, cursor: Cursor, plan: LoadPlan, part: LoadPart) -> None:
        """Notes a part."""
        # As JSON: an _id may hold what a text cannot.
        keys = (None if key is None else json.dumps(key) for key in part.keys)
        self._names.execute(cursor, _PLAN, (self._source, part.name, *keys, part.expected, plan.seq, plan.instance))

    def advance(self, cursor: Cursor, before: LoadPart, after: LoadPart) -> None:
        """Notes how far a part has come."""
        values = {
            "source": self._source,
            "part": after.name,
            "before": _text(before),
            "position": _text(after),
            "documents": after.documents,
            "done": after.done,
        }
        self._names.execute(cursor, _ADVANCE, values)
        if cursor.rowcount != 1:
            raise CheckpointConflictError(
                f"The first load of {self._source} was moved by another run while documents were being written; these"
                " were not stored. Let one run at a time copy a source."
            )
        Checkpoints(self._names).load_advanced(cursor, self._source)

    def finish(self, cursor: Cursor) -> None:
        """Notes that the feed takes over."""
        self._names.execute(cursor, _FINISH, (self._source,))

    def unproven(self, cursor: Cursor) -> str | None:
        """When the load began that is finished, but was not compared; None where there is none."""
        return value_of(cursor, self._names.compose(_UNPROVEN), (self._source,))

    def proven(self, cursor: Cursor) -> None:
        """Notes that the comparison has ended, whatever it found."""
        self._names.execute(cursor, _PROVEN, (self._source,))


def _id(text: str | None) -> str | None:
    return None if text is None else json.loads(text)


def _text(part: LoadPart) -> str | None:
    """The position as the table holds it."""
    return part.position if part.position is None or part.name in {TOMBSTONES, REST} else json.dumps(part.position)
