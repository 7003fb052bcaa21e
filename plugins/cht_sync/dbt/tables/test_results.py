"""Keeps in Postgres how the data tests of the dbt project have ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.tables.acknowledgements import APPLICATION, Acknowledgement, Acknowledgements
from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.query import Names
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.settings import RawTable
from cht_sync.store.migrations import prepared

BAD_STATUSES = {"fail", "error", "runtime error"}
_KEPT = "90 days"
_FORGET = (
    "delete from {schema}.couchdb_test_result where models_schema = %s and (at < now() - %s::interval or run = %s)"
)
_RECORD = """
insert into {schema}.couchdb_test_result
    (models_schema, run, test, model, status, failures, message, seconds, acknowledged)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
"""
_NEWEST = """
select test from {schema}.couchdb_test_result
where models_schema = %(schema)s and run = (
    select run from {schema}.couchdb_test_result where models_schema = %(schema)s order by at desc limit 1
)
"""
_OF_RUN = """
select test, model, status, failures, message, seconds from {schema}.couchdb_test_result
where models_schema = %s and run = %s order by test
"""


@dataclass(frozen=True, slots=True)
class DataTestResult:
    """How one data test has ended.

    :param test: its unique id in the dbt project.
    :param model: name of the model that it belongs to; None for one of a source.
    :param status: ``pass``, ``warn``, ``fail``, ``error`` or ``skipped``, as dbt says.
    :param failures: rows that it found; None where it could not be run.
    :param message: of dbt, without values of documents.
    :param acknowledged: who knew of the failure and why; empty where nobody did.
    :param not_acknowledged: why an acknowledgement that there is does not count.
    """

    test: str
    model: str | None
    status: str
    failures: int | None
    message: str
    seconds: float
    acknowledged: str = ""
    not_acknowledged: str = ""

    @property
    def failed(self) -> bool:
        """Whether it ended badly, and nobody has acknowledged that; one that only warns did not."""
        return self.status in BAD_STATUSES and not self.acknowledged

    @property
    def name(self) -> str:
        """Its name in the dbt project."""
        return self.test.split(".")[2] if self.test.count(".") >= 2 else self.test

    def judged(self, known: Mapping[str, Acknowledgement]) -> DataTestResult:
        """The same, with acknowledgements by name or unique id of the test."""
        one = known.get(self.test) or known.get(self.name)
        if one is None or self.status not in BAD_STATUSES:
            return self
        refusal = one.refusal(self.status, self.failures, datetime.now(UTC).date())
        return replace(self, acknowledged="" if refusal else one.text, not_acknowledged=refusal or "")

    def __str__(self) -> str:
        """One line for a log."""
        name = self.name
        rows = f", {self.failures:,} rows" if self.failures else ""
        said = f": {self.message}" if self.message and self.status != "pass" else ""
        known = f" ({self.acknowledged})" if self.acknowledged else ""
        known = f" (it {self.not_acknowledged})" if self.not_acknowledged else known
        return f"{name} {self.status}{rows}{said}{known}"


class DataTestResults:
    """The table ``couchdb_test_result``.

    :param connection: Airflow connection of the role that writes the raw tables.
    """

    def __init__(self, connection: Connection, raw: RawTable, models_schema: str) -> None:
        self._connection, self._raw, self._models_schema = connection, raw, models_schema
        self._names = Names(raw.schema)

    def record(self, run: str, results: Iterable[DataTestResult]) -> None:
        """Notes the results of a run, by Airflow's id, in place of those of an earlier try of it; forgets old runs."""
        with prepared(self._connection, self._raw, APPLICATION, "note results of data tests") as cursor:
            self._names.execute(cursor, _FORGET, (self._models_schema, _KEPT, run))
            for one in results:
                values = (one.test, one.model, one.status, one.failures, one.message, one.seconds,
                          one.acknowledged or None)  # fmt: skip
                self._names.execute(cursor, _RECORD, (self._models_schema, run, *values))

    def of_run(self, run: str) -> list[DataTestResult]:
        """The results of a run, by Airflow's id, in the order of tests, with what is acknowledged by now."""
        known = self.acknowledgements.all()
        with self._reading() as cursor:
            self._names.execute(cursor, _OF_RUN, (self._models_schema, run))
            return [DataTestResult(*row).judged(known) for row in cursor]

    def names(self) -> set[str]:
        """Names and unique ids of the tests of the newest run."""
        with self._reading() as cursor:
            if not relation_exists(cursor, self._raw.schema, "couchdb_test_result"):
                return set()
            self._names.execute(cursor, _NEWEST, {"schema": self._models_schema})
            tests = [test for (test,) in cursor]
        return {*tests, *(DataTestResult(test, None, "pass", None, "", 0.0).name for test in tests)}

    @property
    def acknowledgements(self) -> Acknowledgements:
        """What people have said of tests that fail."""
        return Acknowledgements(self._connection, self._raw, self._models_schema)

    def _reading(self) -> AbstractContextManager[Cursor]:
        return transaction(self._connection, APPLICATION, "read results of data tests")
