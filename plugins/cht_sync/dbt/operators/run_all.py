"""The task that runs dbt for all models, while others watch it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from cosmos.constants import _PRODUCER_CMD_FLAGS_XCOM_KEY
from cosmos.operators._watcher import safe_xcom_push
from cosmos.operators.local import DbtLocalBaseOperator
from cosmos.operators.watcher import DbtProducerWatcherOperator

from cht_sync.assets import postgres_namespace
from cht_sync.dbt.deploy.active_version import expected_version
from cht_sync.dbt.launch.outcome import node_results
from cht_sync.dbt.operators.dbt_task import RunsModels
from cht_sync.dbt.operators.model_events import NOT_REACHED, ModelEvents
from cht_sync.dbt.rebuild import api_views
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.run.ending import EndedError, Ending
from cht_sync.dbt.run.good_end import MODELLED_TO, WITHIN_REACH, note_alone
from cht_sync.dbt.run.idle_forms import idle_forms
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.run.run_models import BatchedRun
from cht_sync.dbt.tables.model_results import FAILED
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.errors import OutOfTimeError
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

LIFT, FORM_RESULTS = "lift_guard", "forms"


def is_lifted(context: Any) -> bool:
    """Whether the run lets every model run, and accepts any number of rows."""
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
        """Runs dbt."""
        ti = context["ti"]
        safe_xcom_push(task_instance=ti, key=_PRODUCER_CMD_FLAGS_XCOM_KEY, value=self.add_cmd_flags())
        DbtLocalBaseOperator.execute(self, context, **kwargs)
        note_alone(context)

    def run_models(self, dbt: DbtRunner, context: Any) -> Any:
        """Runs all models, as often as it takes."""
        settings, ti, lift = Settings(), context["ti"], is_lifted(context)
        namespace = postgres_namespace(dbt_connection(settings)) if self._should_generate_model_uris else None
        forms = dbt.lineage.forms
        events = ModelEvents(ti, namespace, forms)
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        with closing(ModelWatch(settings, dbt.lineage, dbt.compiled, lift, events.push_result)) as watch:
            run = BatchedRun(
                dbt,
                watch,
                runs,
                events,
                lift=lift,
                budget=settings.models_time_budget,
                idle=lambda: idle_forms(settings, forms, expected_version(settings)),
            )
            try:
                result = run.execute()
            except EndedError:
                if (now := Ending.now) and isinstance(now.error, OutOfTimeError):
                    events.push_kept()
                    # Their tasks would start a dbt each, for which there is no time either.
                    events.push_not_run(run.not_reached, str(now.error), NOT_REACHED)
                raise
            finally:
                if forms:
                    safe_xcom_push(task_instance=ti, key=FORM_RESULTS, value=events.forms)
        api_views.follow(dbt_connection(settings))
        for key, stamp in ((MODELLED_TO, run.modelled_to), (WITHIN_REACH, run.within_reach)):
            if stamp:
                safe_xcom_push(task_instance=ti, key=key, value=stamp.isoformat())
        return result

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Leaves failed models to their own tasks; what else fails, such as a connection or a hook, fails this one."""
        failed = [one for one in node_results(result) if str(one.status) in FAILED]
        if failed and not result.exception and all(one.node.resource_type == "model" for one in failed):
            names = ", ".join(one.node.name for one in failed)
            self.log.error("dbt failed for %s: see the tasks of these models.", names)
            return
        super().handle_exception_dbt_runner(result)
