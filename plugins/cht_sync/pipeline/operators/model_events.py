"""What dbt says of each model while it runs, handed to the tasks of the models."""

from __future__ import annotations

from typing import Any

from cosmos.dataset import construct_dataset_uri
from cosmos.operators._watcher import safe_xcom_push
from cosmos.operators._watcher.base import get_status_xcom_key
from cosmos.operators._watcher.state import DBT_UPSTREAM_FAILURE_SKIP_EVENT_NAMES


class ModelEvents:
    """A callback of dbt that pushes one XCom for each model that has ended.

    Cosmos's own turns every event into JSON and pushes seven XComs for each model, which on a small machine takes
    longer than the models; dbt waits for it.
    Source: https://docs.getdbt.com/reference/programmatic-invocations#registering-callbacks

    :param ti: task instance that pushes.
    :param namespace: start of the names of assets, or None to name none.
    """

    def __init__(self, ti: Any, namespace: str | None) -> None:
        self._ti = ti
        self._namespace = namespace
        self._skipped: set[str] = set()
        self.error: Exception | None = None

    def __call__(self, event: Any) -> None:
        """Looks at one event.

        :param event: of dbt.
        """
        name = event.info.name
        if name != "NodeFinished" and name not in DBT_UPSTREAM_FAILURE_SKIP_EVENT_NAMES:
            return
        node = event.data.node_info
        if node.resource_type != "model":
            return
        if name != "NodeFinished":
            self._skipped.add(node.unique_id)
            return
        try:
            self._push(node, event.data.run_result.message)
        except Exception as error:
            # dbt would swallow it, or count it against the model: who runs dbt raises it afterwards.
            self.error = self.error or error

    def _push(self, node: Any, message: str) -> None:
        # A model behind one that failed must be tried again with it, which Airflow does not do for skipped tasks.
        status = "failed" if node.unique_id in self._skipped else node.node_status
        value = {"status": status, "outlet_uris": self._uris(node), "message": message}
        safe_xcom_push(task_instance=self._ti, key=get_status_xcom_key(node.unique_id), value=value)

    def _uris(self, node: Any) -> list[str]:
        if not self._namespace:
            return []
        table = node.node_relation
        name = f"{table.database}.{table.schema}.{table.alias}"
        return [construct_dataset_uri(self._namespace, name, warn_uri_migration=False)]
