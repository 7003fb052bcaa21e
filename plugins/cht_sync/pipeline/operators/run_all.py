"""The task that runs dbt once for all models, while others watch it."""

from __future__ import annotations

from typing import Any

from cosmos.constants import _PRODUCER_CMD_FLAGS_XCOM_KEY
from cosmos.dataset import get_dataset_namespace
from cosmos.operators._watcher import safe_xcom_push
from cosmos.operators.local import AbstractDbtLocalBase, DbtLocalBaseOperator
from cosmos.operators.watcher import DbtProducerWatcherOperator

from cht_sync.pipeline.operators.dbt_task import DbtTaskMixin
from cht_sync.pipeline.operators.model_events import ModelEvents


class RunAllModels(DbtTaskMixin, DbtProducerWatcherOperator):
    """Runs ``dbt run`` and tells each model's task how that model ended.

    It differs from Cosmos's own producer in three ways: it runs ``dbt run``, not ``dbt build``, so that data tests
    and unit tests stay out of the minute-by-minute run; clearing it runs dbt again, which is safe under the lock;
    and a model that fails turns that model's task red, not this one.
    """

    base_cmd = ["run"]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # Airflow's log takes dbt's own lines; ModelEvents has no need of JSON.
        self.log_format = None

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Runs dbt.

        :param context: of the task.
        :raises CosmosDbtRunError: if dbt failed in another way than in a model.
        """
        ti = context["ti"]
        safe_xcom_push(task_instance=ti, key=_PRODUCER_CMD_FLAGS_XCOM_KEY, value=self.add_cmd_flags())
        DbtLocalBaseOperator.execute(self, context, **kwargs)

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        """Runs dbt in this process.

        :param command: program and arguments.
        :param env: environment for dbt.
        :param cwd: folder to run in.
        :returns: what dbt returned.
        """
        namespace = get_dataset_namespace(self.profile_config) if self._should_generate_model_uris else None
        events = ModelEvents(kwargs["context"]["ti"], namespace)
        self._dbt_runner_callbacks = [events]
        result = AbstractDbtLocalBase.run_dbt_runner(self, command, env, cwd, **kwargs)
        if events.error:
            raise events.error
        return result

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Lets failed models be told by their own tasks.

        :param result: what dbt returned.
        :raises CosmosDbtRunError: if anything else failed, such as the connection or a hook.
        """
        results = getattr(result.result, "results", None) or []
        failed = [one for one in results if str(one.status) in {"error", "fail", "runtime error"}]
        if failed and not result.exception and all(one.node.resource_type == "model" for one in failed):
            names = ", ".join(one.node.name for one in failed)
            self.log.error("dbt failed for %s: see the tasks of these models.", names)
            return
        super().handle_exception_dbt_runner(result)
