"""The task that runs dbt for one model."""

from __future__ import annotations

from cosmos.operators.local import DbtRunLocalOperator

from cht_sync.pipeline.operators.dbt_task import DbtTaskMixin


class RunModel(DbtTaskMixin, DbtRunLocalOperator):
    """Runs ``dbt run`` for its own model, as ``airflow dags test`` needs it."""
