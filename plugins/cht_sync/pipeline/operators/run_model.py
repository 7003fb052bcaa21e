"""The task that runs dbt for one model."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

from cosmos.operators.local import DbtRunLocalOperator

from cht_sync.connections import dbt_connection
from cht_sync.errors import HeldError
from cht_sync.model_results import SHRUNK
from cht_sync.pipeline import api_views
from cht_sync.pipeline.dbt_runs import DbtRuns
from cht_sync.pipeline.good_end import note_alone
from cht_sync.pipeline.lineage import Lineage
from cht_sync.pipeline.model_watch import ModelWatch
from cht_sync.pipeline.operators.dbt_task import DbtTaskMixin
from cht_sync.pipeline.operators.run_all import is_lifted
from cht_sync.settings import Settings

log = logging.getLogger(__name__)
# Of the last project that this process has parsed, by folder and variables: under ``airflow dags test`` one process
# runs every model, and parsing again for each would be most of the time.
_parsed: dict[tuple[str, str], DbtRuns] = {}


class RunModel(DbtTaskMixin, DbtRunLocalOperator):
    """Runs ``dbt run`` for its own model, as ``airflow dags test`` needs it."""

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Runs dbt.

        :param context: of the task.
        """
        super().execute(context, **kwargs)
        note_alone(context)

    def run_dbt_runner(self, command: list[str], env: dict[str, str], cwd: str, **kwargs: Any) -> Any:
        """Runs dbt in this process, with the manifest that an earlier task of it has parsed.

        :param command: program and arguments.
        :param env: environment for dbt.
        :param cwd: folder to run in.
        :returns: what dbt returned.
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
        result = watched_run(dbt, is_lifted(kwargs["context"]))
        api_views.follow(dbt_connection(Settings()))
        return result


def watched_run(dbt: DbtRuns, lift: bool, select: str | None = None, own: str = "") -> Any:
    """Runs the models of a command once, judges and records them.

    A model that has shrunk is told by the last task of the run: what reads it must run all the same.

    :param dbt: parsed.
    :param lift: believe any number of rows, and run what is held back.
    :param select: which models; default those of the command.
    :param own: unique id of the only model, where it may have to wait for others.
    :return: dbt's result.
    :raises HeldError: if it has to.
    """
    with closing(ModelWatch(Settings(), Lineage.of(dbt.manifest), dbt.compiled, lift)) as watch:
        failing = watch.failing() - {own}
        if own and failing and not lift and own in watch.held(failing):
            names = ", ".join(sorted(name.rpartition(".")[2] for name in failing))
            raise HeldError(f"{own} waits, because its deletes would reach models that fail: {names}.")
        result = dbt.run(watch, select)
        watch.record()
    for one in watch.results.values():
        if one.status == SHRUNK:
            log.error("%s", one.message)
    return result
