"""What is known of sources that are waited for."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime

from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.connection import regclass_text
from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.query import Names, one_row
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.checkpoints import Checkpoints
from cht_sync.sync import older_documents

# The first run makes the tables, and after an upgrade the column that is asked for.
_THERE = """
select now(), exists (
    select from pg_attribute where attrelid = to_regclass(%s) and attname = 'asked_at' and not attisdropped
)
"""
# What the next run does though nothing changes in CouchDB. A sweep and a proof go on where a run has ended before them;
# of documents that CouchDB does not hand out each may cost a minute, see couchdb_quarantine.
_LEFT = """
select (
    select sweep_after is not null from {schema}.couchdb_progress where source = %(source)s
) or exists (
    select from {schema}.couchdb_first_load
    where source = %(source)s and finished_at is not null and proven_at is null
) or (
    select max(last_seen) < now() - interval '10 minutes' from {schema}.couchdb_quarantine
    where source = %(source)s and resolved_at is null and body_bytes = 0 and left(_id, 17) <> 'org.couchdb.user:'
        and key = sha256(convert_to(_id, 'UTF8'))
)
"""
_OLDER_LEFT = """
select exists (
    select from {schema}.couchdb_older_revision where source = %(source)s and settled_at is null
        and (looked_at is null or looked_at < now() - %(pause)s)
)
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One source.

    :param seq: its checkpoint; None where it was never read to an end.
    :param updated_at: when a run last stored something of it, or looked.
    :param instance: ``instance_start_time`` of the database that the checkpoint is of; None where nobody knows.
    """

    now: datetime
    seq: str | None = None
    updated_at: datetime | None = None
    drained_at: datetime | None = None
    asked_at: datetime | None = None
    instance: str | None = None

    @property
    def asked(self) -> bool:
        """Whether a run was asked for that has not read to the end."""
        return self.asked_at is not None and (self.drained_at is None or self.drained_at < self.asked_at)


def read_state(settings: Settings, source: str) -> Waiting:
    """What Postgres knows of a source."""
    with _cursor(settings) as cursor:
        cursor.execute(_THERE, (regclass_text(settings.raw_table.schema, "couchdb_progress"),))
        now, is_there = one_row(cursor)
        return Waiting(now, *_checkpoints(settings).waiting(cursor, source)) if is_there else Waiting(now)


def has_work_left(settings: Settings, source: str) -> bool:
    """Whether a run has something to do though nothing changes: older revisions to look at again, a sweep or the proof
    of a first load that has not come to its end, documents that CouchDB did not hand out.
    """
    names, values = Names(settings.raw_table.schema), {"source": source, "pause": older_documents.PAUSE}
    with _cursor(settings) as cursor:
        if names.value(cursor, _LEFT, values):
            return True
        # After an upgrade the first run makes it.
        if not relation_exists(cursor, names.schema, "couchdb_older_revision"):
            return False
        return bool(names.value(cursor, _OLDER_LEFT, values))


def note_look(settings: Settings, source: str, seq: str) -> None:
    """Notes that CouchDB holds nothing beyond a checkpoint: who watches would else take rest for a failure."""
    with _cursor(settings) as cursor:
        _checkpoints(settings).note_drained(cursor, source, seq)


def ask(settings: Settings, waiting: dict[str, str | None]) -> list[str]:
    """Notes that changes ask for a run, except where one has come by itself; returns the sources that still wait."""
    asking = [name for name, seq in waiting.items() if seq is None]
    if len(asking) < len(waiting):
        with _cursor(settings) as cursor:
            for name, seq in waiting.items():
                if _checkpoints(settings).ask(cursor, name, seq) and seq is not None:
                    asking.append(name)
    return sorted(asking)


def _checkpoints(settings: Settings) -> Checkpoints:
    return Checkpoints(Names(settings.raw_table.schema))


def _cursor(settings: Settings) -> AbstractContextManager[Cursor]:
    return transaction(postgres_connection(settings), "cht_sync waits", "read and write couchdb_progress")
