"""The task that runs dbt for one model."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

from cosmos.operators.local import DbtRunLocalOperator

from cht_sync.dbt.launch.outcome import Outcome
from cht_sync.dbt.operators.dbt_task import RunsModels
from cht_sync.dbt.operators.run_all import is_lifted
from cht_sync.dbt.rebuild import api_views
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.run.good_end import note_alone
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.tables.model_results import SHRUNK
from cht_sync.errors import ChangedError, HeldError
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
# The last project that dbt has parsed for this process, by folder and variables: under ``airflow dags test`` one
# process runs every model, and parsing again for each would be most of the time.
_parsed: dict[tuple[str, str], DbtRunner] = {}


class RunModel(RunsModels, DbtRunLocalOperator):
    """Runs ``dbt run`` for its own model, as ``airflow dags test`` needs it."""

    def execute(self, context: Any, **kwargs: Any) -> None:
        """Runs dbt."""
        super().execute(context, **kwargs)
        note_alone(context)

    @property
    def _key(self) -> tuple[str, str]:
        return str(self.project_dir), str(self.vars)

    def parse_project(self, dbt: DbtRunner) -> Outcome | None:
        """Takes the manifest that an earlier task of this process had dbt parse, or has it parse the project."""
        if self._key not in _parsed:
            return dbt.parse()
        dbt.take(_parsed.pop(self._key))
        return None

    def run_models(self, dbt: DbtRunner, context: Any) -> Any:
        """Runs its own model."""
        result = watched_run(dbt, is_lifted(context))
        for other in _parsed.values():
            other.close()
        _parsed.clear()
        if dbt.is_alive:
            _parsed[self._key] = dbt.handed_over()
        api_views.follow(dbt_connection(Settings()))
        return result


def watched_run(dbt: DbtRunner, lift: bool, select: str | None = None, own: str = "") -> Any:
    """Runs the models of a command once, judges and records them.

    A model that has shrunk is reported by the last task of the run: what reads it must run all the same.

    :param lift: accept any number of rows, and run what would be skipped.
    :param select: which models; default those of the command.
    :param own: unique id of the only model, where it may have to wait for others.
    :raises HeldError: if it has to.
    :raises ChangedError: if a table is not as it was built.
    """
    with closing(ModelWatch(Settings(), dbt.lineage, dbt.compiled, lift)) as watch:
        failing = watch.failing() - {own}
        if own and failing and not lift and own in watch.unsafe_to_run(failing):
            names = ", ".join(sorted(name.rpartition(".")[2] for name in failing))
            raise HeldError(f"{own} waits, because its deletes would reach models that fail: {names}.")
        models = dbt.lineage.chosen(select if select is not None else dbt.select)
        if changed := watch.changed(models):
            watch.refuse(changed, models)
            watch.record()
            raise ChangedError(" ".join(changed.values()))
        prerequisites = watch.missing_prerequisites(models)
        result = dbt.run(watch, select, prerequisites=prerequisites, batches=watch.batches(models))
        watch.record()
    for one in watch.results.values():
        if one.status == SHRUNK:
            log.error("%s", one.message)
    return result
