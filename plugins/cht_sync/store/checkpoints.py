"""The table ``couchdb_progress``: where the feed of each source goes on, and of which database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.structs import Page
from cht_sync.errors import CheckpointConflictError
from cht_sync.postgres.query import Names

_LARGEST_INTEGER = 2**31 - 1
_STATE = "select seq, instance_start_time, sweep_after from {schema}.couchdb_progress where source = %s"
_FIRST = """
insert into {schema}.couchdb_progress as stored (source, seq, pending, updated_at, instance_start_time, drained_at)
values (%(source)s, %(seq)s, %(pending)s, now(), %(instance)s, case when %(drained)s then now() end)
on conflict (source) do update set seq = excluded.seq, pending = excluded.pending, updated_at = excluded.updated_at,
    instance_start_time = excluded.instance_start_time, drained_at = excluded.drained_at
where stored.seq is null
"""
_NEXT = """
update {schema}.couchdb_progress
set seq = %(seq)s, pending = %(pending)s, updated_at = now(), instance_start_time = %(instance)s,
    drained_at = case when %(drained)s then now() else drained_at end
where source = %(source)s and seq = %(since)s
"""
# What is stored now is no measure for revisions of the database that is read from now on.
_RESTART = """
insert into {schema}.couchdb_progress (source, updated_at, instance_start_time, sweep_after, made_again_at)
values (%(source)s, now(), %(instance)s, '', greatest(
    (select max(saved_timestamp) from {schema}.{table}), (select max(saved_timestamp) from {schema}.couchdb_collision)
))
on conflict (source) do update
set seq = null, pending = null, updated_at = now(), instance_start_time = %(instance)s, sweep_after = '',
    drained_at = null, made_again_at = excluded.made_again_at
"""
_SWEPT = """
update {schema}.couchdb_progress set sweep_after = %(after)s,
    made_again_at = case when %(after)s is not null then made_again_at end
where source = %(source)s
"""
_DOUBTS = "select source, doubt from {schema}.couchdb_progress where doubt is not null"
_DOUBT = "update {schema}.couchdb_progress set doubt = %s, doubted_at = now() where source = %s"
_PROVEN = """
update {schema}.couchdb_progress set doubt = null, doubted_at = null where source = %(source)s and doubted_at < (
    select min(planned_at) from {schema}.couchdb_reconciliation
    where run = %(run)s and source = %(source)s and part = 'beside' and verdict is not null
)
"""
# A row without a seq: what it locks is what other writers have to pass.
_BEGIN_LOAD = """
insert into {schema}.couchdb_progress (source, updated_at, instance_start_time) values (%s, now(), %s)
on conflict (source) do update set updated_at = now(), instance_start_time = excluded.instance_start_time
where couchdb_progress.seq is null
"""
_LOAD_PENDING = """
update {schema}.couchdb_progress set updated_at = now(), pending = (
    select least(greatest(sum(expected - documents), 1), 2147483647) from {schema}.couchdb_first_load
    where source = %(source)s and not done
) where source = %(source)s
"""
_WAITING = """
select seq, updated_at, drained_at, asked_at, instance_start_time from {schema}.couchdb_progress where source = %s
"""
# Only while the checkpoint is the one that was asked about.
_NOTE_DRAINED = """
update {schema}.couchdb_progress set updated_at = now(), drained_at = now()
where source = %s and seq = %s and (pending = 0 or pending is null)
"""
_ASK = """
update {schema}.couchdb_progress set asked_at = now() where source = %s and seq is not distinct from %s
"""
# Makes every source be read from its beginning.
READ_AGAIN = "delete from {schema}.couchdb_progress"
_GO_ON_FROM = "update {schema}.couchdb_progress set seq = %s, updated_at = now() where source = %s and seq = %s"

_MOVED = (
    "The checkpoint of {source} was moved by another writer while documents were being written; these were not stored."
    " Stop the other writer (an old couch2pg, another Airflow; pg_stat_activity names it) and run again."
)


@dataclass(frozen=True, slots=True)
class SourceState:
    """What is known of a source.

    :param seq: the opaque checkpoint; None where the feed starts at the beginning.
    :param instance: ``instance_start_time`` of the database that the checkpoint is of.
    :param sweep_after: ``_id`` that the search for deleted documents has come to, while there is one.
    """

    seq: str | None = None
    instance: str | None = None
    sweep_after: str | None = None


class Checkpoints:
    """Reads and moves checkpoints, each inside a transaction of whoever calls."""

    def __init__(self, names: Names) -> None:
        self._names = names

    def state(self, cursor: Cursor, source: str) -> SourceState:
        """What is known of a source; nothing where it was never read."""
        return SourceState(*self._names.execute(cursor, _STATE, (source,)).fetchone() or ())

    def sources(self, cursor: Cursor) -> set[str]:
        """Names of all sources that were ever read."""
        return {name for (name,) in self._names.execute(cursor, "select source from {schema}.couchdb_progress")}

    def move(
        self,
        cursor: Cursor,
        source: str,
        page: Page,
        since: str | None,
        instance: str | None,
        *,
        ledger: tuple[sql.Composed, dict[str, Any]],
    ) -> None:
        """Moves a checkpoint behind a page if it is ``since``; sends the ledger along, to wait for one answer less."""
        pending = 0 if page.is_last else page.pending
        values = {
            "source": source,
            "since": since,
            "seq": page.checkpoint,
            "pending": None if pending is None else min(pending, _LARGEST_INTEGER),
            "instance": instance,
            "drained": page.is_last,
        }
        note, noted = ledger
        text = self._names.compose(_FIRST if since is None else _NEXT)
        cursor.execute(note + sql.SQL(";") + text, {**noted, **values})
        if cursor.rowcount != 1:
            raise CheckpointConflictError(_MOVED.format(source=source))

    def check(self, cursor: Cursor, source: str, state: SourceState) -> None:
        """Makes sure that nobody else has moved a checkpoint, and that nobody will before the transaction ends."""
        found = self._names.execute(cursor, _STATE + " for update", (source,)).fetchone()
        if SourceState(*found or ()) != state:
            raise CheckpointConflictError(_MOVED.format(source=source))

    def restart(self, cursor: Cursor, source: str, instance: str | None) -> None:
        """Makes the feed of a source begin at the beginning, and a sweep follow it."""
        self._names.execute(cursor, _RESTART, {"source": source, "instance": instance})

    def swept(self, cursor: Cursor, source: str, after: str | None) -> None:
        """Notes how far a sweep has come."""
        self._names.execute(cursor, _SWEPT, {"source": source, "after": after})

    def doubt(self, cursor: Cursor, source: str, reason: str) -> None:
        """Notes why the copy may not be complete."""
        self._names.execute(cursor, _DOUBT, (reason, source))

    def doubts(self, cursor: Cursor) -> dict[str, str]:
        """Why the copy of a source may not be complete, by source."""
        return dict(self._names.execute(cursor, _DOUBTS).fetchall())

    def proven(self, cursor: Cursor, source: str, run: str) -> None:
        """Clears a doubt that is older than a full comparison, named ``run``, which has found nothing wrong."""
        self._names.execute(cursor, _PROVEN, {"source": source, "run": run})

    def go_on_from(self, cursor: Cursor, source: str, since: str, seq: str) -> bool:
        """Moves a checkpoint without a page."""
        return bool(self._names.execute(cursor, _GO_ON_FROM, (seq, source, since)).rowcount == 1)

    def begin_load(self, cursor: Cursor, source: str, instance: str | None) -> None:
        """Notes that a first load begins; a checkpoint that is there stays."""
        self._names.execute(cursor, _BEGIN_LOAD, (source, instance))

    def load_advanced(self, cursor: Cursor, source: str) -> None:
        """Notes how much a first load has to do yet."""
        self._names.execute(cursor, _LOAD_PENDING, {"source": source})

    def waiting(self, cursor: Cursor, source: str) -> tuple[Any, ...]:
        """What whoever waits for changes wants to know; empty where the source was never read.

        :return: seq, when a run stored something or looked, when the feed was read to its end, when a run was asked
            for, and ``instance_start_time``.
        """
        return self._names.execute(cursor, _WAITING, (source,)).fetchone() or ()

    def note_drained(self, cursor: Cursor, source: str, seq: str) -> None:
        """Notes that CouchDB holds nothing beyond a checkpoint, unless that has been moved meanwhile."""
        self._names.execute(cursor, _NOTE_DRAINED, (source, seq))

    def ask(self, cursor: Cursor, source: str, seq: str | None) -> bool:
        """Notes that changes beyond a checkpoint ask for a run; whether it is the checkpoint still."""
        return bool(self._names.execute(cursor, _ASK, (source, seq)).rowcount)
