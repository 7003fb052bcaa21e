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

_THERE = "select now(), to_regclass(%s) is not null"
_STATE = "select seq, updated_at, drained_at from {schema}.couchdb_progress where source = %s"
# Only while the checkpoint is the one that was asked about.
_LOOKED = """
update {schema}.couchdb_progress set updated_at = now(), drained_at = now()
where source = %s and seq = %s and (pending = 0 or pending is null)
"""


@dataclass(frozen=True, slots=True)
class Waiting:
    """One source.

    :param now: the time of Postgres.
    :param seq: its checkpoint; None where it was never read to an end.
    :param updated_at: when a run last stored something of it, or looked.
    :param drained_at: when its feed was last read to the end.
    """

    now: datetime
    seq: str | None = None
    updated_at: datetime | None = None
    drained_at: datetime | None = None


def read_state(settings: Settings, source: str) -> Waiting:
    """What Postgres knows of a source.

    :param settings: the environment.
    :param source: its name.
    :raises StoreError: if Postgres does not answer.
    """
    raw = settings.raw_table
    with _cursor(settings) as cursor:
        cursor.execute(_THERE, (regclass_text(raw.schema, "couchdb_incident"),))
        now, is_there = cursor.fetchone()
        if not is_there:  # the first run makes the tables
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


@contextmanager
def _cursor(settings: Settings) -> Iterator[Any]:
    doing = "read and write couchdb_progress"
    with transaction(postgres_connection(settings), "cht_sync waits", doing) as cursor:
        yield cursor
