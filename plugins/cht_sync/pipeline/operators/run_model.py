"""The task that runs dbt for one model."""

from __future__ import annotations

from typing import Any

from cosmos.dbt.project import change_working_directory, environ
from cosmos.operators.local import DbtRunLocalOperator

from cht_sync.pipeline.operators.dbt_task import DbtTaskMixin

# Of the last project that this process has parsed, by folder and variables: under ``airflow dags test`` one process
# runs every model, and parsing again for each would be most of the time.
_parsed: dict[tuple[str, str], Any] = {}


class RunModel(DbtTaskMixin, DbtRunLocalOperator):
    """Runs ``dbt run`` for its own model, as ``airflow dags test`` needs it."""

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **_: Any) -> Any:
        """Runs dbt in this process, with the manifest that an earlier task of it has parsed.

        Source: https://docs.getdbt.com/reference/programmatic-invocations#reusing-objects

        :param command: program and arguments.
        :param env: environment for dbt.
        :param cwd: folder to run in.
        :returns: what dbt returned.
        """
        from dbt.adapters.factory import reset_adapters
        from dbt.cli.main import dbtRunner

        key = (str(self.project_dir), str(self.vars))
        with change_working_directory(cwd), environ(env):
            try:
                if key not in _parsed:
                    parsed = dbtRunner().invoke(["parse", *_without_selection(command)])
                    if not parsed.success:
                        return parsed
                    _parsed.clear()
                    _parsed[key] = parsed.result
                return dbtRunner(manifest=_parsed[key], callbacks=self._dbt_runner_callbacks).invoke(command[1:])
            finally:
                reset_adapters()


def _without_selection(command: list[str]) -> list[str]:
    """The options of ``dbt run`` that ``dbt parse`` has too: where project and profile are, and the variables."""
    kept = {"--project-dir", "--profiles-dir", "--profile", "--target", "--vars"}
    return [
        part
        for option, value in zip(command, [*command[1:], ""], strict=True)
        if option in kept
        for part in (option, value)
    ]
