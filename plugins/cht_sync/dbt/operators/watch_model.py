"""The task of one model while a single dbt process runs them all."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException
from cosmos.operators._watcher.base import get_status_xcom_key, get_xcom_val
from cosmos.operators._watcher.state import is_dbt_node_status_success, is_producer_task_terminated
from cosmos.operators.watcher import DbtRunWatcherOperator

from cht_sync.dbt.operators.dbt_task import RunsModels
from cht_sync.dbt.operators.model_events import HELD, NOT_REACHED
from cht_sync.dbt.operators.run_all import is_lifted
from cht_sync.dbt.operators.run_model import watched_run
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.run.good_end import note_alone
from cht_sync.dbt.tables.model_results import SHRUNK
from cht_sync.errors import HeldError, ModelFailedError, ShrunkError

ASK_PRODUCER_EVERY = 3
NOT_BEGUN = {None, "scheduled", "queued"}
# So long a task waits in its slot for a dbt that has not begun, and so long it stays away then.
GIVE_WAY_AFTER_S, GIVE_WAY_FOR_S = 15.0, 5.0


class WatchModel(RunsModels, DbtRunWatcherOperator):
    """Waits until dbt has run its model; a second try runs the model by itself.

    Cosmos's own waits for ever where a finished dbt did not run the model, starts a dbt of its own where dbt could
    not start at all, and asks Airflow's server four times a second for each model.
    """

    _pokes = 0
    _since: float | None = None

    def poke(self, context: Any) -> bool:
        """Whether the model has ended well; raises where it has not, does not run, or the time was over before."""
        ended = self._pokes % ASK_PRODUCER_EVERY == 0 and self._producer_ended(context)
        self._pokes += 1
        # Read after the state of dbt_run: what that has not pushed by its end it never will.
        ended_as = get_xcom_val(context["ti"], self.producer_task_id, get_status_xcom_key(self.model_unique_id))
        if ended_as and ended_as["status"] == HELD:
            raise HeldError(f"{self.model_unique_id} did not run. {ended_as['message']}")
        if ended_as and ended_as["status"] == NOT_REACHED:
            raise AirflowSkipException(f"{self.model_unique_id} was not reached. {ended_as['message']}")
        if context["ti"].try_number > 1 and not (ended_as and is_dbt_node_status_success(ended_as["status"])):
            # What dbt has pushed of the first try is known; before it has ended, it has the lock.
            if not ended:
                return False
            done: bool = self._fallback_to_non_watcher_run(context["ti"].try_number, context)
            note_alone(context)
            return done
        if ended_as is None and not ended:
            return False
        if ended_as is None:
            raise ModelFailedError(f"{self.model_unique_id} was not run: look at the log of {self.producer_task_id}.")
        if ended_as["status"] == SHRUNK:
            raise ShrunkError(ended_as["message"])
        self._outlet_uris = ended_as["outlet_uris"]
        if not is_dbt_node_status_success(ended_as["status"]):
            raise ModelFailedError(f"{self.model_unique_id} {ended_as['status']}: {ended_as['message'].strip()}")
        self.log.info("%s: %s", self.model_unique_id, ended_as["message"])
        if context["ti"].try_number > 1:
            note_alone(context)
        return True

    def _producer_ended(self, context: Any) -> bool:
        """Whether dbt has ended; gives way to one that has not begun.

        Celery does not keep to priorities: where it has fewer slots than models, those that wait would take them all,
        and dbt would never begin.
        """
        status = self._get_producer_task_status(context)
        self._since = self._since or time.monotonic()
        if status in NOT_BEGUN and time.monotonic() - self._since > GIVE_WAY_AFTER_S:
            self.log.info("%s has not begun; this task gives way to it for a moment.", self.producer_task_id)
            raise AirflowRescheduleException(datetime.now(UTC) + timedelta(seconds=GIVE_WAY_FOR_S))
        return is_producer_task_terminated(status)

    def run_models(self, dbt: DbtRunner, context: Any) -> Any:
        """Runs its own model, in a second try, unless it has to wait for another."""
        return watched_run(dbt, is_lifted(context), own=self.model_unique_id)
