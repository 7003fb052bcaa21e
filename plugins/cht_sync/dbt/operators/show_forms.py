"""The one task of all models that are made from forms."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException
from cosmos.operators._watcher.state import is_dbt_node_status_success

from cht_sync.dbt.operators.model_events import NOT_REACHED
from cht_sync.dbt.operators.run_all import FORM_RESULTS
from cht_sync.errors import ModelFailedError


class ShowForms(BaseOperator):
    """Says how the models of forms ended in the run of dbt: a task for each would cost more than the models do.

    What failed is run first by the next run, so there is nothing to try again here.

    :param dbt_task_id: of the task that runs dbt.
    """

    def __init__(self, *, dbt_task_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dbt_task_id = dbt_task_id

    def execute(self, context: Any) -> None:
        """Fails with the message of each model that did not end well; skipped where none ran, or time was over."""
        results = context["ti"].xcom_pull(task_ids=self.dbt_task_id, key=FORM_RESULTS)
        if results is None:
            raise ModelFailedError(f"The models of forms were not run: look at the log of {self.dbt_task_id}.")
        failed = []
        for model, (status, message) in sorted(results.items()):
            self.log.info("%s: %s. %s", model, status, message.strip())
            if not is_dbt_node_status_success(status) and status != NOT_REACHED:
                failed.append(f"{model} {status}: {message.strip()}")
        if failed:
            raise ModelFailedError("\n".join(failed))
        if late := [model for model, (status, _) in results.items() if status == NOT_REACHED]:
            raise AirflowSkipException(f"{len(late)} models of forms were not reached. {results[late[0]][1]}")
        if not results:
            raise AirflowSkipException(
                "Nothing of a form arrived: no report, and no contact that has a table of its own."
            )
