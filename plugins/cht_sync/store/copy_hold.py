"""Holds the copy back for a moment, so that the models can catch up with the documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.settings import RawTable

_HOLD = """
insert into {schema}.couchdb_copy_hold (models_schema, reason, until)
values (%s, %s, now() + make_interval(secs => %s))
on conflict (models_schema) do update set reason = excluded.reason, until = excluded.until
"""
_RELEASE = "delete from {schema}.couchdb_copy_hold where models_schema = %s"
_REASON = "select reason, until from {schema}.couchdb_copy_hold where until > now() order by until desc limit 1"


class CopyHold:
    """The table ``couchdb_copy_hold``: tasks that copy look at it when they begin."""

    def __init__(self, connection: Connection, raw: RawTable) -> None:
        self._connection, self._names = connection, Names(raw.schema)

    def reason(self) -> str:
        """Why nothing may be copied now; empty where it may."""
        with closing(PatientSession(self._connection, "cht_sync hold")) as session:
            return session.ask("read whether the copy is paused for data tests", self._reason)

    def _reason(self, cursor: Cursor) -> str:
        if not relation_exists(cursor, self._names.schema, "couchdb_copy_hold"):
            return ""
        found = self._names.execute(cursor, _REASON).fetchone()
        return f"{found[0]} (until {found[1]:%H:%M:%S} UTC at the latest)" if found else ""

    @contextmanager
    def held(self, models_schema: str, reason: str, seconds: float) -> Iterator[None]:
        """Pauses the copy for a block, and for some seconds at most where the block is lost."""
        self._write(_HOLD, models_schema, reason, seconds)
        try:
            yield
        finally:
            self._write(_RELEASE, models_schema)

    def _write(self, text: str, *values: object) -> None:
        with transaction(self._connection, "cht_sync hold", "hold the copy back") as cursor:
            self._names.execute(cursor, text, values)
