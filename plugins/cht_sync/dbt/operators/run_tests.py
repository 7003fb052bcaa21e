"""The task that runs the data tests of the dbt project."""

from __future__ import annotations

import time
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtTestLocalOperator

from cht_sync.dbt.launch.outcome import messages_of, node_results
from cht_sync.dbt.operators.dbt_task import DbtTaskMixin
from cht_sync.dbt.run.ending import raise_if_ending
from cht_sync.dbt.tables.acknowledgements import FAILED
from cht_sync.dbt.tables.model_results import ModelResults
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.dbt.tables.test_results import BAD_STATUSES, DataTestResult, DataTestResults
from cht_sync.redaction import of_text
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.copy_hold import CopyHold

# A test that failed while documents arrived is tried again so often; the models and the copy have so long.
TRIES, CATCH_UP_S, HELD_S, POLL_S = 2, 600.0, 900.0, 3.0


class RunTests(DbtTaskMixin, DbtTestLocalOperator):
    """Runs ``dbt test`` for the data tests and stores how each has ended.

    A test that fails turns the task of its model red, not this one. Where documents waited for the models meanwhile,
    what failed is tested again after the next run of the models, while the copy is held back. dbt's own lines are
    left out of the log, since they may hold values of documents.

    :param model_of: name of the model by unique id of the test.
    """

    def __init__(self, *, model_of: dict[str, str | None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_of = model_of

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Runs dbt; skips where nothing has been modelled yet."""
        settings = Settings()
        settings.check()
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema, settings.dbt_selector)
        if runs.state().modelled_to is None:
            raise AirflowSkipException("Nothing has been modelled yet, so there is nothing to test.")
        self._results: dict[str, DataTestResult] = {}
        self._test(context, runs, **kwargs)
        hold = CopyHold(postgres_connection(settings), settings.raw_table)
        for _ in range(TRIES):
            doubtful = self._doubtful()
            if not doubtful:
                return
            self.log.info("Documents arrived that the models had not seen; tested again once they have: %s.",
                          ", ".join(sorted(doubtful)))  # fmt: skip
            with hold.held(settings.dbt_schema, f"data tests of {settings.dbt_schema} wait for the models", HELD_S):
                if not self._models_catch_up(runs):
                    self.log.warning("The models did not catch up within %.0f minutes: the results stand, though"
                                     " documents arrived meanwhile.", CATCH_UP_S / 60)  # fmt: skip
                    return
                self.select = " ".join(sorted(doubtful))
                self._test(context, runs, **kwargs)

    def _test(self, context: Any, runs: ModelRuns, **kwargs: Any) -> None:
        self._waited = _wait(runs)
        super().execute(context, **kwargs)
        self._waited = self._waited or _wait(runs)

    def _doubtful(self) -> set[str]:
        """Names of tests that may have failed because documents wait for the models; none where models fail."""
        failed = {one.name for one in self._results.values() if one.failed and one.status == FAILED}
        if not failed or not self._waited:
            return set()
        settings = Settings()
        memory = ModelResults(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        return set() if memory.failing() else failed

    def _models_catch_up(self, runs: ModelRuns) -> bool:
        """Waits until the models have seen all documents, by runs of their own DAG."""
        until = time.monotonic() + CATCH_UP_S
        while _wait(runs):
            if time.monotonic() > until:
                return False
            time.sleep(POLL_S)
        return True

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        """Runs dbt."""
        result = DbtTaskMixin.run_dbt_runner(self, command, env, cwd, **kwargs)
        raise_if_ending()
        results = [self._test_result(one) for one in node_results(result) if one.node.resource_type == "test"]
        settings = Settings()
        stored = DataTestResults(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        known = stored.acknowledgements.all()
        results = [one.judged(known) for one in results]
        self._results |= {one.test: one for one in results}
        stored.record(kwargs["context"]["run_id"], self._results.values())
        for one in sorted(results, key=lambda each: (not each.failed, each.test)):
            (self.log.error if one.failed else self.log.warning if one.acknowledged else self.log.info)("%s", one)
        return result

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Leaves failed tests to the tasks of their models; what else fails, such as a hook, fails this one."""
        failed = [one for one in node_results(result) if str(one.status) in BAD_STATUSES]
        others = [one for one in failed if one.node.resource_type != "test"]
        if others:
            raise CosmosDbtRunError(f"dbt test failed beside the tests: {messages_of(others)}")
        if not failed:
            super().handle_exception_dbt_runner(result)

    def _test_result(self, one: Any) -> DataTestResult:
        test = one.node.unique_id
        model = self.model_of.get(test)
        message = of_text(one.message or "")
        return DataTestResult(test, model, str(one.status), one.failures, message, one.execution_time)


def _wait(runs: ModelRuns) -> bool:
    """Whether documents wait for the models."""
    state = runs.state()
    return state.newest is not None and (state.modelled_to is None or state.newest > state.modelled_to)
