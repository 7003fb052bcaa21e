"""How each model ended, handed to the tasks of the models."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cosmos.dataset import construct_dataset_uri
from cosmos.operators._watcher import safe_xcom_push
from cosmos.operators._watcher.base import get_status_xcom_key

from cht_sync.dbt.tables.model_results import ModelResult

HELD, NOT_REACHED = "held", "not reached"


class ModelEvents:
    """Pushes one XCom for each model that has ended.

    Cosmos's own turns every event into JSON and pushes seven XComs for each model, which on a small machine takes
    longer than the models; dbt waits for it.

    :param namespace: start of the names of assets, or None to name none.
    :param forms: models that are made from forms, by unique id.
    """

    def __init__(self, ti: Any, namespace: str | None, forms: Collection[str] = ()) -> None:
        self._ti, self._namespace, self._forms = ti, namespace, set(forms)
        self._kept: dict[str, tuple[str, dict[str, Any]]] = {}
        self.keep = False
        #: How each model of a form ended: all of them have one task.
        self.forms: dict[str, tuple[str, str]] = {}

    def push_result(self, result: ModelResult, node: Any) -> None:
        """Says to the task of a model how it ended; where dbt runs once more, only what failed."""
        # A model behind one that failed must be tried again with it, which Airflow does not do for skipped tasks.
        status = "failed" if result.status == "skipped" else result.status
        if result.model in self._forms:
            self.forms[result.model] = (status, result.message)
            return
        key = get_status_xcom_key(result.model)
        value = {"status": status, "outlet_uris": self._uris(node), "message": result.message}
        if self.keep and status == "success":
            self._kept[result.model] = (key, value)
        else:
            self._kept.pop(result.model, None)
            safe_xcom_push(task_instance=self._ti, key=key, value=value)

    def push_kept(self) -> None:
        """Pushes what was kept: dbt will not run again."""
        for key, value in self._kept.values():
            safe_xcom_push(task_instance=self._ti, key=key, value=value)
        self._kept.clear()

    def push_not_run(self, models: set[str], why: str, status: str = HELD) -> None:
        """Says to the tasks of models that these do not run: ``held`` or ``not reached``."""
        self.forms |= dict.fromkeys(models & self._forms, (status, why))
        for model in models - self._forms:
            value = {"status": status, "outlet_uris": [], "message": why}
            safe_xcom_push(task_instance=self._ti, key=get_status_xcom_key(model), value=value)

    def _uris(self, node: Any) -> list[str]:
        if not self._namespace or node is None:
            return []
        table = node.node_relation
        name = f"{table.database}.{table.schema}.{table.alias}"
        return [construct_dataset_uri(self._namespace, name, warn_uri_migration=False)]
