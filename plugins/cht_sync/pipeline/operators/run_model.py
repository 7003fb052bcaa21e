"""The task that runs dbt for one model."""

from __future__ import annotations

from contextlib import closing
from typing import Any

from cosmos.operators.local import DbtRunLocalOperator

from cht_sync.errors import ShrunkError
from cht_sync.model_results import SHRUNK
from cht_sync.pipeline.dbt_runs import DbtRuns
from cht_sync.pipeline.lineage import Lineage
from cht_sync.pipeline.model_watch import ModelWatch
from cht_sync.pipeline.operators.dbt_task import DbtTaskMixin
from cht_sync.pipeline.operators.run_all import LIFT
from cht_sync.settings import Settings

# Of the last project that this process has parsed, by folder and variables: under ``airflow dags test`` one process
# runs every model, and parsing again for each would be most of the time.
_parsed: dict[tuple[str, str], DbtRuns] = {}


class RunModel(DbtTaskMixin, DbtRunLocalOperator):
    """Runs ``dbt run`` for its own model, as ``airflow dags test`` needs it."""

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        """Runs dbt in this process, with the manifest that an earlier task of it has parsed.

        :param command: program and arguments.
        :param env: environment for dbt.
        :param cwd: folder to run in.
        :returns: what dbt returned.
        :raises ShrunkError: if the model lost more rows than is believed.
        """
        dbt, key = DbtRuns(command, env, cwd), (str(self.project_dir), str(self.vars))
        if key in _parsed:
            dbt.take(_parsed[key])
        else:
            broken = dbt.parse()
            if broken is not None:
                return broken
            _parsed.clear()
            _parsed[key] = dbt
        return watched_run(dbt, bool((kwargs["context"].get("params") or {}).get(LIFT)))


def watched_run(dbt: DbtRuns, lift: bool, select: str | None = None) -> Any:
    """Runs the models of a command once, judges and records them.

    :param dbt: parsed.
    :param lift: believe any number of rows.
    :param select: which models; default those of the command.
    :return: dbt's result.
    :raises ShrunkError: if a model lost more rows than is believed.
    """
    with closing(ModelWatch(Settings(), Lineage.of(dbt.manifest), dbt.compiled, lift)) as watch:
        result = dbt.run(watch, select)
        watch.record()
    for one in watch.results.values():
        if one.status == SHRUNK:
            raise ShrunkError(one.message)
    return result
