"""The task that runs dbt for all models, while others watch it."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime
from typing import Any

from cosmos.constants import _PRODUCER_CMD_FLAGS_XCOM_KEY
from cosmos.operators._watcher import safe_xcom_push
from cosmos.operators.local import DbtLocalBaseOperator
from cosmos.operators.watcher import DbtProducerWatcherOperator

from cht_sync.assets import postgres_namespace
from cht_sync.dbt.operators.dbt_task import RunsModels
from cht_sync.dbt.operators.model_events import NOT_REACHED, ModelEvents
from cht_sync.dbt.rebuild import api_views
from cht_sync.dbt.run.dbt_runner import DbtRuns
from cht_sync.dbt.run.ending import EndedError, Ending
from cht_sync.dbt.run.good_end import MODELLED_TO, WITHIN_REACH, note_alone
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.run.run_models import ModelsRun
from cht_sync.dbt.tables.model_results import FAILED
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.errors import OutOfTimeError
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

LIFT = "lift_guard"


def is_lifted(context: Any) -> bool:
    """Whether a person lets every model run, and believes any number of rows.

    :param context: of the task.
    """
    return bool((context.get("params") or {}).get(LIFT))


class RunAllModels(RunsModels, DbtProducerWatcherOperator):
    """Runs ``dbt run`` and passes each model's result to the task of that model.

    It differs from Cosmos's own producer in four ways: it runs ``dbt run``, not ``dbt build``, so that data tests
    and unit tests stay out of the minute-by-minute run; what failed the last time runs first, and batches follow
    each other; clearing it runs dbt again, which is safe under the lock; and a model that fails turns that model's
    task red, not this one.
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
        :raises OutOfTimeError: if it did not end in time.
        """
        ti = context["ti"]
        safe_xcom_push(task_instance=ti, key=_PRODUCER_CMD_FLAGS_XCOM_KEY, value=self.add_cmd_flags())
        DbtLocalBaseOperator.execute(self, context, **kwargs)
        note_alone(context)

    def run_models(self, dbt: DbtRuns, context: Any) -> Any:
        """Runs all models, as often as it takes.

        :param dbt: what runs models.
        :param context: of the task.
        :returns: what dbt returned.
        """
        settings, ti = Settings(), context["ti"]
        lift = is_lifted(context)
        namespace = postgres_namespace(dbt_connection(settings)) if self._should_generate_model_uris else None
        events = ModelEvents(ti, namespace)
        watch = ModelWatch(settings, dbt.lineage, dbt.compiled, lift, events.tell)
        with closing(watch):
            run = ModelsRun(
                dbt,
                watch,
                _Waiting(settings),
                events,
                lift=lift,
                budget=settings.models_time_budget,
            )
            try:
                result = run.execute()
            except EndedError:
                if (now := Ending.now) and isinstance(now.error, OutOfTimeError):
                    events.release()
                    # Their tasks would start a dbt each, for which there is no time either.
                    events.hold(run.not_reached, str(now.error), NOT_REACHED)
                raise
        api_views.follow(dbt_connection(settings))
        for key, stamp in ((MODELLED_TO, run.modelled_to), (WITHIN_REACH, run.within_reach)):
            if stamp:
                safe_xcom_push(task_instance=ti, key=key, value=stamp.isoformat())
        return result

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Lets failed models be told by their own tasks.

        :param result: what dbt returned.
        :raises CosmosDbtRunError: if anything else failed, such as the connection or a hook.
        """
        results = getattr(result.result, "results", None) or []
        failed = [one for one in results if str(one.status) in FAILED]
        if failed and not result.exception and all(one.node.resource_type == "model" for one in failed):
            names = ", ".join(one.node.name for one in failed)
            self.log.error("dbt failed for %s: see the tasks of these models.", names)
            return
        super().handle_exception_dbt_runner(result)


class _Waiting:
    """What is not yet modelled, by both roles' connections."""

    def __init__(self, settings: Settings) -> None:
        self._runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        self._models = dbt_connection(settings)

    def newest(self) -> datetime | None:
        return self._runs.state().newest

    def reached(self) -> datetime | None:
        return self._runs.reached(self._models)

    def waiting(self, after: datetime | None, most: int) -> int:
        return self._runs.waiting(after, most)
