"""The task that shows how the tests of one model have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from cht_sync.dbt.tables.test_results import DataTestResults
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings


class ShowTests(BaseOperator):
    """Reads the results of the run from Postgres, and fails where a test has failed or was not run.

    An acknowledged failure is listed and fails nothing.
    """

    ui_color = "#e8f0d5"

    def __init__(self, *, tests: Sequence[str], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tests = list(tests)

    @property
    def subject(self) -> str:
        """Name of the model."""
        return str(self.task_id).rpartition(".")[2]

    def execute(self, context: Any) -> dict[str, int]:
        """Logs each test, fails where one has failed or was not run, and gives the number of tests by status."""
        settings = Settings()
        stored = DataTestResults(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        results = {one.test: one for one in stored.of_run(context["run_id"])}
        counts, bad = Counter[str](), list[str]()
        for test in self.tests:
            found = results.get(test)
            said = str(found) if found else f"{test} was not run: the dbt project may have changed since"
            failed = found is None or found.failed
            known = found is not None and bool(found.acknowledged)
            (self.log.error if failed else self.log.warning if known else self.log.info)("%s", said)
            status = "acknowledged" if known else found.status if found else "missing"
            counts[status] += 1
            if failed:
                bad.append(said)
        if bad:
            raise AirflowFailException(f"{len(bad)} of {len(self.tests)} tests failed: {'; '.join(bad)}")
        return dict(counts)
