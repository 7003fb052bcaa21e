"""The task that runs what failed the last time before anything else may run."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from cosmos.operators.local import DbtRunLocalOperator

from cht_sync.dbt.launch.outcome import Outcome, messages_of, node_results
from cht_sync.dbt.operators.dbt_task import RunsModels
from cht_sync.dbt.operators.run_all import is_lifted
from cht_sync.dbt.operators.run_model import watched_run
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.tables.model_results import FAILED
from cht_sync.errors import StillFailingError
from cht_sync.settings.settings import Settings


class RetryFailedModels(RunsModels, DbtRunLocalOperator):
    """Runs the models that failed the last time, with all that reads them; where each model is a task of its own.

    It fails where one fails again: then no other model runs, and readers keep the last good state.
    """

    def run_models(self, dbt: DbtRunner, context: Any) -> Any:
        """Runs the models that failed the last time; nothing where none did."""
        if is_lifted(context):
            self.log.info("The guard is lifted for this run.")
            return Outcome(success=True)
        lineage, chosen = dbt.lineage, dbt.lineage.chosen(dbt.select)
        with closing(ModelWatch(Settings(), lineage, dbt.compiled)) as watch:
            failing = (watch.failing() | set(watch.changed(chosen))) & chosen
        if not failing:
            self.log.info("No model failed the last time.")
            return Outcome(success=True)
        return watched_run(dbt, False, lineage.select(lineage.descendants(failing) & chosen))

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Fails for good where a model fails again: what Airflow tries once more is a task that was lost."""
        failed = [one for one in node_results(result) if str(one.status) in FAILED]
        if failed and not result.exception:
            raise StillFailingError(f"Models fail again: {messages_of(failed)}")
        super().handle_exception_dbt_runner(result)
