"""Data tests that people know to fail: who has acknowledged which, why and for how long."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, date, datetime

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.errors import SettingsError
from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.query import Names
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.settings import RawTable
from cht_sync.store.migrations import prepared

APPLICATION = "cht_sync data tests"
FAILED, ERRORS = "fail", {"error", "runtime error"}
_ALL = """
select test, reason, acknowledged_by, acknowledged_at, until, at_most, errors
from {schema}.couchdb_test_acknowledgement where models_schema = %s order by test
"""
_ADD = """
insert into {schema}.couchdb_test_acknowledgement
    (models_schema, test, reason, acknowledged_by, until, at_most, errors)
values (%s, %s, %s, %s, %s, %s, %s)
on conflict (models_schema, test) do update
set reason = excluded.reason, acknowledged_by = excluded.acknowledged_by, acknowledged_at = now(),
    until = excluded.until, at_most = excluded.at_most, errors = excluded.errors
"""
_REMOVE = "delete from {schema}.couchdb_test_acknowledgement where models_schema = %s and test = %s returning test"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Why a data test may fail, and who says so.

    :param test: its name, or its unique id in the dbt project.
    :param until: the last day on which it counts; None for good.
    :param at_most: rows that it may find; None for any number.
    :param errors: whether it also counts where the test cannot be run.
    """

    test: str
    reason: str
    by: str
    at: datetime
    until: date | None = None
    at_most: int | None = None
    errors: bool = False

    @property
    def text(self) -> str:
        """One sentence."""
        until = f" until {self.until}" if self.until else ""
        return f"acknowledged by {self.by} on {self.at:%Y-%m-%d}{until}: {self.reason}"

    def refusal(self, status: str, failures: int | None, today: date) -> str | None:
        """Why it does not count for a failure today, in UTC; None where it does."""
        if self.until and today > self.until:
            return f"was acknowledged until {self.until}, which is over"
        if status in ERRORS and not self.errors:
            return "is acknowledged to fail, but could not be run at all"
        if self.at_most is not None and failures is not None and failures > self.at_most:
            return f"is acknowledged for at most {self.at_most:,} rows"
        return None


class Acknowledgements:
    """The table ``couchdb_test_acknowledgement``, for the models of one schema.

    :param connection: Airflow connection of the role that writes the raw tables.
    """

    def __init__(self, connection: Connection, raw: RawTable, models_schema: str) -> None:
        self._connection, self._raw, self._models_schema = connection, raw, models_schema
        self._names = Names(raw.schema)

    def all(self) -> dict[str, Acknowledgement]:
        """All of them, by what they name."""
        with transaction(self._connection, APPLICATION, "read acknowledged data tests") as cursor:
            if not relation_exists(cursor, self._raw.schema, "couchdb_test_acknowledgement"):
                return {}
            self._names.execute(cursor, _ALL, (self._models_schema,))
            return {row[0]: Acknowledgement(*row) for row in cursor}

    def add(self, one: Acknowledgement, known: Collection[str]) -> None:
        """Acknowledges a test, in place of what was said of it before; its time is now.

        :param known: names and unique ids of all tests.
        :raises SettingsError: if no test has that name, or a value makes no sense.
        """
        if one.test not in known:
            names = ", ".join(sorted(name for name in known if "." not in name)) or "none has run yet"
            raise SettingsError(f"There is no data test {one.test!r}: name one of the newest run ({names}).")
        if not one.reason.strip():
            raise SettingsError("An acknowledgement needs a reason, for whoever comes next.")
        if one.until and one.until < datetime.now(UTC).date():
            raise SettingsError(f"until {one.until} is over already: give a day to come.")
        values = (one.test, one.reason.strip(), one.by, one.until, one.at_most, one.errors)
        with self._writing("acknowledge a data test") as cursor:
            self._names.execute(cursor, _ADD, (self._models_schema, *values))

    def remove(self, test: str) -> None:
        """Takes an acknowledgement back."""
        with self._writing("take an acknowledgement back") as cursor:
            self._names.execute(cursor, _REMOVE, (self._models_schema, test))
            if not cursor.fetchone():
                raise SettingsError(f"{test!r} is not acknowledged.")

    def _writing(self, doing: str) -> AbstractContextManager[Cursor]:
        return prepared(self._connection, self._raw, APPLICATION, doing)
