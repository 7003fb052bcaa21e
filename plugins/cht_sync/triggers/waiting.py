"""What is known of sources that are waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg2 import sql

from cht_sync.connections import postgres_connection
from cht_sync.postgres import regclass_text, transaction
from cht_sync.settings import Settings

# The first run makes the tables, and after an upgrade the column that is asked for.
_THERE = """
select now(), exists (
    select from pg_attribute where attrelid = to_regclass(%s) and attname = 'asked_at' and not attisdropped
)
"""
_STATE = "select seq, updated_at, drained_at, asked_at from {schema}.couchdb_progress where source = %s"
# Only while the checkpoint is the one that was asked about.
_LOOKED = """
update {schema}.couchdb_progress set updated_at = now(), drained_at = now()
where source = %s and seq = %s and (pending = 0 or pending is null)
"""
_ASK = """
update {schema}.couchdb_progress set asked_at = now() where source = %s and seq is not distinct from %s
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One source.

    :param now: the time of Postgres.
    :param seq: its checkpoint; None where it was never read to an end.
    :param updated_at: when a run last stored something of it, or looked.
    :param drained_at: when its feed was last read to the end.
    :param asked_at: when a change last asked for a run.
    """

    now: datetime
    seq: str | None = None
    updated_at: datetime | None = None
    drained_at: datetime | None = None
    asked_at: datetime | None = None

    @property
    def asked(self) -> bool:
        """Whether a run was asked for that has not read to the end."""
        return self.asked_at is not None and (self.drained_at is None or self.drained_at < self.asked_at)


def read_state(settings: Settings, source: str) -> Waiting:
    """What Postgres knows of a source.

    :param settings: the environment.
    :param source: its name.
    :raises StoreError: if Postgres does not answer.
    """
    raw = settings.raw_table
    with _cursor(settings) as cursor:
        cursor.execute(_THERE, (regclass_text(raw.schema, "couchdb_progress"),))
        now, is_there = cursor.fetchone()
        if not is_there:
            return Waiting(now)
        cursor.execute(sql.SQL(_STATE).format(schema=sql.Identifier(raw.schema)), (source,))
        return Waiting(now, *(cursor.fetchone() or ()))


def note_look(settings: Settings, source: str, seq: str) -> None:
    """Notes that CouchDB holds nothing beyond a checkpoint: who watches would else take rest for a failure.

    :param settings: the environment.
    :param source: name of the source.
    :param seq: the checkpoint.
    :raises StoreError: if Postgres does not answer.
    """
    with _cursor(settings) as cursor:
        cursor.execute(sql.SQL(_LOOKED).format(schema=sql.Identifier(settings.raw_table.schema)), (source, seq))


def ask(settings: Settings, waiting: dict[str, str | None]) -> list[str]:
    """Notes that changes ask for a run, except where one has come by itself.

    :param settings: the environment.
    :param waiting: by source the checkpoint beyond which there are changes; None where it was never read.
    :return: names of the sources that still wait.
    :raises StoreError: if Postgres does not answer.
    """
    asking = [name for name, seq in waiting.items() if seq is None]
    if len(asking) < len(waiting):
        with _cursor(settings) as cursor:
            for name, seq in waiting.items():
                cursor.execute(sql.SQL(_ASK).format(schema=sql.Identifier(settings.raw_table.schema)), (name, seq))
                if seq is not None and cursor.rowcount:
                    asking.append(name)
    return sorted(asking)


@contextmanager
def _cursor(settings: Settings) -> Iterator[Any]:
    doing = "read and write couchdb_progress"
    with transaction(postgres_connection(settings), "cht_sync waits", doing) as cursor:
        yield cursor
