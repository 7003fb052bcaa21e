"""The task that takes the snapshots of the dbt project."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowSkipException
from cosmos.exceptions import CosmosDbtRunError
from cosmos.operators.local import DbtSnapshotLocalOperator

from cht_sync.connections import postgres_connection
from cht_sync.model_results import FAILED
from cht_sync.model_runs import ModelRuns
from cht_sync.pipeline.operators.dbt_task import DbtTaskMixin
from cht_sync.redaction import of_text
from cht_sync.settings import Settings


class TakeSnapshots(DbtTaskMixin, DbtSnapshotLocalOperator):
    """Runs ``dbt snapshot`` for all snapshots of the project, while no models run.

    It is skipped until the models have run to a good end once: a snapshot of half of them would say for ever that the
    other half came later.
    """

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Runs dbt.

        :param context: of the task.
        :raises AirflowSkipException: if nothing has been modelled yet.
        :raises CosmosDbtRunError: if a snapshot failed, with its name.
        """
        settings = Settings()
        settings.check()
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema, settings.dbt_selector)
        if runs.state().modelled_to is None:
            raise AirflowSkipException("Nothing has been modelled yet, so there is nothing to take a snapshot of.")
        super().execute(context, **kwargs)

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Names what failed.

        :param result: what dbt returned.
        :raises CosmosDbtRunError: if anything failed.
        """
        results = getattr(result.result, "results", None) or []
        failed = [one for one in results if str(one.status) in FAILED]
        if failed:
            said = "; ".join(f"{one.node.name}: {of_text(one.message or '')}" for one in failed)
            raise CosmosDbtRunError(f"dbt snapshot failed: {said}")
        super().handle_exception_dbt_runner(result)
