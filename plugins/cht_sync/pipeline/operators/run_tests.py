"""The task that runs the data tests of the dbt project."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowSkipException
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtTestLocalOperator

from cht_sync.connections import postgres_connection
from cht_sync.data_tests import BAD_STATUSES, DataTestResult, DataTestResults
from cht_sync.model_runs import ModelRuns
from cht_sync.pipeline.operators.dbt_task import DbtTaskMixin
from cht_sync.redaction import of_text
from cht_sync.settings import Settings


class RunTests(DbtTaskMixin, DbtTestLocalOperator):
    """Runs ``dbt test`` for the data tests and stores how each has ended.

    A test that fails turns the task of its model red, not this one. dbt's own lines are left out of the log, since
    they may hold values of documents.

    :param model_of: name of the model by unique id of the test.
    """

    def __init__(self, *, model_of: dict[str, str | None], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_of = model_of

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Runs dbt.

        :param context: of the task.
        :raises AirflowSkipException: if nothing has been modelled yet.
        :raises CosmosDbtRunError: if dbt failed in another way than in a test.
        """
        settings = Settings()
        settings.check()
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema, settings.dbt_selector)
        if runs.state().modelled_to is None:
            raise AirflowSkipException("Nothing has been modelled yet, so there is nothing to test.")
        super().execute(context, **kwargs)

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        """Runs dbt.

        :param command: program and arguments.
        :param env: environment for dbt.
        :param cwd: folder to run in.
        :returns: what dbt returned.
        """
        result = DbtTaskMixin.run_dbt_runner(self, command, env, cwd, **kwargs)
        results = [self._told(one) for one in _ended(result) if one.node.resource_type == "test"]
        settings = Settings()
        stored = DataTestResults(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        stored.record(kwargs["context"]["run_id"], results)
        for one in sorted(results, key=lambda each: (not each.failed, each.test)):
            (self.log.error if one.failed else self.log.info)("%s", one)
        return result

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Lets failed tests be told by the tasks of their models.

        :param result: what dbt returned.
        :raises CosmosDbtRunError: if anything else failed, such as the connection or a hook.
        """
        failed = [one for one in _ended(result) if str(one.status) in BAD_STATUSES]
        others = [one for one in failed if one.node.resource_type != "test"]
        if others:
            said = "; ".join(f"{one.node.name}: {of_text(one.message or '')}" for one in others)
            raise CosmosDbtRunError(f"dbt test failed beside the tests: {said}")
        if not failed:
            super().handle_exception_dbt_runner(result)

    def _told(self, one: Any) -> DataTestResult:
        test = one.node.unique_id
        model = self.model_of.get(test)
        message = of_text(one.message or "")
        return DataTestResult(test, model, str(one.status), one.failures, message, one.execution_time)


def _ended(result: Any) -> list[Any]:
    return getattr(result.result, "results", None) or []
