"""One run of the models: first what failed the last time, then all, batch by batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from cht_sync.dbt.launch.outcome import Outcome
from cht_sync.dbt.project.graph import TAKES_BATCHES
from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.tables.model_runs import ModelRuns

log = logging.getLogger(__name__)
GROWTH = 4


class TaskStatuses(Protocol):
    """Says to the tasks of models how these ended; :class:`ModelEvents` does.

    ``keep``: dbt runs again, so a success waits until :meth:`push_kept`.
    """

    keep: bool

    def push_kept(self) -> None: ...

    def push_not_run(self, models: set[str], why: str) -> None: ...


class BatchedRun:
    """Runs dbt until the models hold what was stored when it began, or a model fails, or the time is over.

    :param lift: run every model although a downstream model fails.
    :param budget: seconds after which no further batch is begun.
    :param clock: monotonic seconds.
    :param idle: models for which nothing arrived, which are left out where all others run.
    """

    def __init__(
        self,
        dbt: DbtRunner,
        watch: ModelWatch,
        runs: ModelRuns,
        statuses: TaskStatuses,
        *,
        lift: bool = False,
        budget: float = 600,
        clock: Callable[[], float] = time.monotonic,
        idle: Callable[[], set[str]] = set,
    ) -> None:
        self._dbt, self._watch, self._runs, self._statuses, self._lift = dbt, watch, runs, statuses, lift
        self._clock, self._until, self._idle = clock, clock() + budget, idle
        self._lineage = dbt.lineage
        self._all = self._lineage.chosen(dbt.select)
        self._refused: set[str] = set()
        self._ended: set[str] = set()
        self.modelled_to: datetime | None = None
        self.within_reach: datetime | None = None

    def _newest(self) -> datetime | None:
        """Stamp of the newest document."""
        return self._runs.state().newest

    def _reached(self) -> datetime | None:
        """Stamp up to which the models have come, where they take batches."""
        return self._runs.reached(self._watch.connection)

    @property
    def not_reached(self) -> set[str]:
        """Models that have not ended, where dbt was ended before."""
        return self._all - self._ended - set(self._watch.results)

    def execute(self) -> Any:
        """Runs the models.

        ``modelled_to`` is then the stamp up to which all of them have seen the documents, None where one did not end
        well; ``within_reach`` is what it will be once those have been made good by themselves.

        :return: dbt's result: the first that is no success, else the last.
        """
        newest = self._newest()
        result = self._execute()
        self.within_reach = self.modelled_to
        if not self.within_reach and newest:
            # A batch may have ended before the newest document.
            reached = self._reached() if self._takes_batches(self._all) else newest
            self.within_reach = min(reached, newest) if reached else None
        return result

    def _execute(self) -> Any:
        failing = self._watch.failing()
        changed = set(self._watch.changed(self._all))
        if not (failing | changed) & self._all:
            return self._everything(unsafe=self._unsafe(failing))
        closed = self._retry(failing | changed)
        return closed if closed is not None else self._everything(unsafe=set())

    def _unsafe(self, failing: set[str]) -> set[str]:
        """Models that wait, for models of other selections too."""
        return self._watch.unsafe_to_run(failing) & self._all if failing and not self._lift else set()

    def _retry(self, failing: set[str]) -> Any:
        """Runs what failed and its children; where that fails again, whatever else may run.

        :return: dbt's result where the guard is closed; None where all may run.
        """
        elsewhere = failing - self._all
        first = self._lineage.descendants(failing & self._all) & self._all
        log.info("Failing, so run first with all that reads it: %s.", self._names(failing & self._all))
        self._statuses.keep = True
        result = self._run(first)
        still = {model for model, one in self._watch.results.items() if one.failed}
        if not still and not elsewhere:
            # What was kept is pushed by the run of all models, which runs these once more.
            return None if result.success else result
        self._statuses.keep = False
        unsafe = self._unsafe(still | elsewhere)
        self._skip(unsafe, still | elsewhere)
        rest = self._all - self._lineage.descendants(still) - unsafe
        second = self._run(rest) if rest else None
        self._statuses.push_kept()
        return second if second and not second.success and result.success else result

    def _skip(self, unsafe: set[str], failing: set[str]) -> None:
        if unsafe:
            why = self._reason(failing)
            log.warning("%s Skipped, as they would delete downstream rows: %s.", why, self._names(unsafe))
            self._statuses.push_not_run(unsafe, why)
            self._watch.memory.hold(unsafe, why)

    def _reason(self, still: set[str]) -> str:
        since = ", ".join(f"{self._lineage.name(each)} (fails {self._watch.since(each)})" for each in sorted(still))
        return (
            f"Readers keep the rows of the last successful run until these models run again: {since}. Fix the model or"
            " the document that it names, or trigger a run with lift_guard (Allow row loss), which lets edited rows"
            " vanish from the models that fail."
        )

    def _names(self, models: set[str]) -> str:
        return ", ".join(sorted(map(self._lineage.name, models)))

    def _everything(self, unsafe: set[str]) -> Any:
        """Runs all models, in batches until the newest document is reached where a batch size is set."""
        self._skip(unsafe, self._watch.failing() - self._all)
        # Who allows row loss wants all to run, and their rows accepted.
        chosen = self._all - unsafe - (set() if self._lift else self._idle())
        if not chosen:
            return Outcome(success=True)
        size = self._size
        if not self._takes_batches(chosen):
            newest = self._newest()
            self._statuses.keep = False
            result = self._run(chosen)
            # Where some wait, the run has not seen all.
            self.modelled_to = newest if result.success and not unsafe and not self._refused else None
            return result
        return self._batches(chosen, size)

    @property
    def _size(self) -> int:
        return int(self._dbt.variables.get("batch_size") or 0)

    def _takes_batches(self, models: set[str]) -> bool:
        return bool(self._size) and any(self._lineage.name(each) == TAKES_BATCHES for each in models)

    def _batches(self, chosen: set[str], size: int) -> Any:
        now = size
        while True:
            newest, before = self._newest(), self._reached()
            last = self._runs.waiting(before, now + 1) <= now
            self._statuses.keep = not last
            self._watch.counting = last
            result = self._run(chosen, batch_size=now)
            after = self._reached()
            # What has come since the run began is left for the next one, wherever it lies.
            reached = newest if last else min(after, newest) if after and newest else after
            self.modelled_to = reached if result.success and not self._refused else None
            over = self._clock() > self._until
            if last or over or not result.success:
                self._statuses.push_kept()
                if over and not last:
                    log.info("The time for batches is over; the next run goes on behind %s UTC.", after)
                return result
            # Nothing but tombstones leaves no trace in a model that derives its place from its newest row: the same
            # batch would be taken for ever.
            now = now * GROWTH if after == before else size
            if after == before:
                log.info("Only deletes; batch size now %s.", f"{now:,}")

    def _run(self, models: set[str], **variables: Any) -> Any:
        self._ended |= set(self._watch.results)
        self._watch.results.clear()
        changed = self._watch.changed(models)
        self._refused = self._watch.refuse(changed, models) if changed else set()
        models = models - self._refused
        if not models:
            self._watch.record()
            return Outcome(success=True)
        everything = models == self._lineage.models
        select, exclude = ("", "") if everything else (self._lineage.select(models), self._lineage.exclude(models))
        try:
            return self._dbt.run(
                self._watch,
                select,
                exclude=exclude,
                variables=variables,
                prerequisites=self._watch.missing_prerequisites(models),
                batches=self._watch.batches(models),
            )
        finally:
            # What has ended has, also where dbt is ended in the middle.
            self._watch.record()
