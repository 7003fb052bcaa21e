"""What every task that may start dbt has in common."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from airflow.sdk import Asset
from cosmos.dataset import compute_model_outlet_uris
from cosmos.operators.local import AbstractDbtLocalBase

from cht_sync.assets import postgres_namespace
from cht_sync.dbt.deploy.active_version import project_folder
from cht_sync.dbt.launch.environment import to_connect
from cht_sync.dbt.launch.outcome import Outcome, invoked, node_results
from cht_sync.dbt.launch.sessions import end_sessions, session_name
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.run.ending import Ending
from cht_sync.dbt.run.run_options import run_vars, thread_flags
from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.postgres.lock_watch import LockWatch
from cht_sync.redaction import cleaned, of_ours, of_text
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings

# Airflow kills a task five seconds after it has told it to end.
AT_ONCE_S = 2.0


class DbtTaskMixin(AbstractDbtLocalBase):
    """Runs dbt in the installed project, with the variables that models read, and never while another dbt runs.

    ``run_command`` is the one place through which each of Cosmos's local operators starts dbt: a whole run, a
    model of its own, and the run of one model after a failure in watcher mode.
    Source: ``AbstractDbtLocalBase.build_and_run_cmd`` in ``cosmos/operators/local.py``.
    """

    # Of several groups of models one takes batches: others would stay behind it unnoticed.
    takes_batches = True
    _assets: tuple[Asset, ...] = ()
    _runners: tuple[DbtRunner, ...] = ()
    _ending: Ending | None = None

    @property
    def subject(self) -> str:
        """Name of the task's own model, else the group of models that it works on, where there are several."""
        task_id = str(self.task_id)
        if self.extra_context.get("dbt_node_config"):
            return task_id.rpartition(".")[2]
        return ".".join(task_id.split(".")[1:-1])

    def build_cmd(self, context: Any, cmd_flags: list[str] | None = None) -> Any:
        """The command, with what the params of the run say in place of the settings."""
        params = context.get("params")
        variables = run_vars(Settings(), params)
        if not self.takes_batches:
            variables.pop("batch_size", None)
        self.vars = variables or None
        return super().build_cmd(context, [*(cmd_flags or []), *thread_flags(params)])

    def run_command(self, cmd: list[str], env: Any, context: Any, **kwargs: Any) -> Any:
        """Runs one dbt command."""
        settings = Settings()
        holder = f"{context['ti'].dag_id}.{context['ti'].task_id}@{socket.gethostname()}"
        work = context["ti"].xcom_pull(task_ids="new_documents") or {}
        connection, schema = dbt_connection(settings), settings.dbt_schema
        self._ending = Ending(settings, context, lambda: end_sessions(connection, schema, patience=AT_ONCE_S))
        with self._ending, schema_lock(settings, schema, holder):
            # Of a dbt that was killed, and whose lock is gone: they would hold what this one needs.
            if left := end_sessions(connection, schema):
                self.log.warning("Ended %s statements of a dbt that is gone.", left)
            # Not before: whoever held the lock may have switched to another version.
            folder = project_folder(settings, work.get("deployment", ""))
            self.project_dir = str(folder)
            if os.access(folder / "target", os.W_OK):
                # What dbt has parsed stays with its version; Cosmos would keep it in /tmp, by the DAG's name alone.
                self.cache_dir = folder
            try:
                with self._ending.of_own(), LockWatch(connection, "run dbt").of_program(session_name(schema)):
                    # Not what Cosmos would hand on, which is all that this process has.
                    env = to_connect(settings, env)
                    return super().run_command(cmd=cmd, env=env, context=context, **kwargs)
            finally:
                for each in self._runners:
                    each.close()
                self._runners = ()

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **_: Any) -> Outcome:
        """Runs a command of dbt's in a process of its own, not in this one as Cosmos would."""
        return invoked(command, env, cwd)

    def handle_exception_dbt_runner(self, result: Any) -> None:
        """Takes values of documents out of what dbt has returned, before it is raised."""
        for one in node_results(result):
            one.message = of_text(one.message or "")
        if isinstance(result.exception, BaseException):
            if not cleaned(result.exception):
                result.exception = type(result.exception).__name__
        elif result.exception:
            result.exception = of_ours(str(result.exception))
        super().handle_exception_dbt_runner(result)

    def on_kill(self) -> None:
        """Ends dbt, with what it has at work in Postgres; Airflow calls it when it is to end the task."""
        if self._ending is not None and Ending.now is self._ending:
            self._ending.stop()
        super().on_kill()

    def calculate_openlineage_events_completes(
        self, env: Any, project_dir: Path, dbt_command_line: list[str] | None = None
    ) -> bool:
        """Finds the assets of the task's own model in the manifest that dbt has just written.

        Cosmos would make lineage events for it, which takes a second, even where nobody listens.
        """
        if find_spec("airflow.providers.openlineage"):
            super().calculate_openlineage_events_completes(env, project_dir, dbt_command_line)
        model = self.extra_context.get("dbt_node_config", {}).get("unique_id")
        if self.emit_datasets and model:
            # Not Cosmos': of a socket or an address of IPv6 it makes a name that no asset may have.
            namespace = postgres_namespace(dbt_connection(Settings()))
            uris = compute_model_outlet_uris(Path(project_dir) / "target" / "manifest.json", namespace)
            self._assets = tuple(Asset(uri) for uri in uris.get(model, ()))
        return False

    def get_datasets(self, source: Any) -> list[Asset]:
        """The assets that the task wrote, its ``outputs``: the table of its model."""
        return list(self._assets) if source == "outputs" else []


class RunsModels(DbtTaskMixin):
    """Runs models, as often as it takes, in a process of dbt's that has parsed the project once."""

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        """Has dbt parse the project and does what the task is for; the process ends with :meth:`run_command`."""
        dbt = DbtRunner(command, env, cwd)
        self._runners = (*self._runners, dbt)
        broken = self.parse_project(dbt)
        return self.run_models(dbt, kwargs["context"]) if broken is None else broken

    def parse_project(self, dbt: DbtRunner) -> Outcome | None:
        """Has dbt parse the project; returns what dbt returned, where it cannot."""
        return dbt.parse()

    def run_models(self, dbt: DbtRunner, context: Any) -> Any:
        """What the task is for."""
        raise NotImplementedError
