"""The tasks that decide whether models run: between two groups of them, and in place of those that cannot be drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, task

from cht_sync.errors import SettingsError

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol


@task.short_circuit(trigger_rule="all_done", ignore_downstream_trigger_rules=False)
def go_on(ti: RuntimeTaskInstanceProtocol | None = None) -> bool:
    """Lets the next group of models run, however the one before it ended, unless that was skipped."""
    if ti is None:
        return False
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    return any(states.get(name) != "skipped" for name in ti.task.upstream_task_ids)


class RefuseOperator(BaseOperator):
    """Stands for models that cannot be drawn: fails with a sentence that says what to do."""

    def __init__(self, *, reason: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reason = reason

    def execute(self, context: Any) -> None:  # noqa: ARG002
        """Fails."""
        raise SettingsError(self.reason)
