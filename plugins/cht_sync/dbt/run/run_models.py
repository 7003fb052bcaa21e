"""One run of the models: first what failed the last time, then all, batch by batch."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from cht_sync.dbt.launch.outcome import Outcome
from cht_sync.dbt.project.graph import TAKES_BATCHES
from cht_sync.dbt.run.dbt_runner import DbtRuns
from cht_sync.dbt.run.model_watch import ModelWatch

log = logging.getLogger(__name__)
GROWTH = 4


class Waiting(Protocol):
    """What is stored and not yet modelled; :class:`cht_sync.dbt.tables.model_runs.ModelRuns` knows it."""

    def newest(self) -> datetime | None:
        """Stamp of the newest document."""

    def reached(self) -> datetime | None:
        """Stamp up to which the models have come."""

    def waiting(self, after: datetime | None, most: int) -> int:
        """Documents behind a stamp, counted up to ``most``."""


class Tells(Protocol):
    """Whom the run tells how models ended; :class:`ModelEvents` does, to their tasks."""

    keep: bool

    def release(self) -> None:
        """Tells what was kept."""

    def hold(self, models: set[str], why: str) -> None:
        """Tells that models do not run."""


class ModelsRun:
    """Runs dbt until the models hold what was stored when it began, or a model fails, or the time is over.

    :param dbt: runs it; parsed.
    :param watch: judges and records what it does.
    :param waiting: what is not yet modelled.
    :param tells: is told how models ended.
    :param lift: run every model although one that hangs on it fails.
    :param budget: seconds after which no further batch is begun.
    :param clock: monotonic seconds.
    """

    def __init__(
        self,
        dbt: DbtRuns,
        watch: ModelWatch,
        waiting: Waiting,
        tells: Tells,
        *,
        lift: bool = False,
        budget: float = 600,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dbt, self._watch, self._waiting, self._tells, self._lift = dbt, watch, waiting, tells, lift
        self._clock, self._until = clock, clock() + budget
        self._lineage = dbt.lineage
        self._all = self._lineage.chosen(dbt.select)
        self._refused: set[str] = set()
        self._ended: set[str] = set()
        self.modelled_to: datetime | None = None
        self.within_reach: datetime | None = None

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
        newest = self._waiting.newest()
        result = self._execute()
        self.within_reach = self.modelled_to
        if not self.within_reach and newest:
            # A batch may have ended before the newest document.
            reached = self._waiting.reached() if self._takes_batches(self._all) else newest
            self.within_reach = min(reached, newest) if reached else None
        return result

    def _execute(self) -> Any:
        failing = self._watch.failing()
        changed = set(self._watch.changed(self._all))
        if not (failing | changed) & self._all:
            return self._everything(held=self._held(failing))
        closed = self._retry(failing | changed)
        return closed if closed is not None else self._everything(held=set())

    def _held(self, failing: set[str]) -> set[str]:
        """Models that wait, for models of other selections too."""
        return self._watch.held(failing) & self._all if failing and not self._lift else set()

    def _retry(self, failing: set[str]) -> Any:
        """Runs what failed and its children; where that fails again, whatever else may run.

        :return: dbt's result where the guard is closed; None where all may run.
        """
        elsewhere = failing - self._all
        first = self._lineage.descendants(failing & self._all) & self._all
        log.info("Failing, so run first with all that reads it: %s.", self._names(failing & self._all))
        self._tells.keep = True
        result = self._run(first)
        still = {model for model, one in self._watch.results.items() if one.failed}
        if not still and not elsewhere:
            # What was kept is told by the run of all models, which runs these once more.
            return None if result.success else result
        self._tells.keep = False
        held = self._held(still | elsewhere)
        self._hold(held, still | elsewhere)
        rest = self._all - self._lineage.descendants(still) - held
        second = self._run(rest) if rest else None
        self._tells.release()
        return second if second and not second.success and result.success else result

    def _hold(self, held: set[str], failing: set[str]) -> None:
        if held:
            why = self._reason(failing)
            log.warning("%s Skipped, as they would delete downstream rows: %s.", why, self._names(held))
            self._tells.hold(held, why)
            self._watch.memory.hold(held, why)

    def _reason(self, still: set[str]) -> str:
        since = ", ".join(f"{self._lineage.name(each)} (fails {self._watch.since(each)})" for each in sorted(still))
        return (
            f"Readers keep the rows of the last successful run until these models run again: {since}. Fix the model or"
            " the document that it names, or trigger a run with lift_guard (Allow row loss), which lets edited rows"
            " vanish from the models that fail."
        )

    def _names(self, models: set[str]) -> str:
        return ", ".join(sorted(map(self._lineage.name, models)))

    def _everything(self, held: set[str]) -> Any:
        """Runs all models, in batches until the newest document is reached where a batch size is set."""
        self._hold(held, self._watch.failing() - self._all)
        chosen = self._all - held
        if not chosen:
            return _nothing()
        size = self._size
        if not self._takes_batches(chosen):
            newest = self._waiting.newest()
            self._tells.keep = False
            result = self._run(chosen)
            # Where some wait, the run has not seen all.
            self.modelled_to = newest if result.success and not held and not self._refused else None
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
            newest, before = self._waiting.newest(), self._waiting.reached()
            last = self._waiting.waiting(before, now + 1) <= now
            self._tells.keep = not last
            self._watch.counting = last
            result = self._run(chosen, batch_size=now)
            after = self._waiting.reached()
            # What has come since the run began is left for the next one, wherever it lies.
            reached = newest if last else min(after, newest) if after and newest else after
            self.modelled_to = reached if result.success and not self._refused else None
            over = self._clock() > self._until
            if last or over or not result.success:
                self._tells.release()
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
            return _nothing()
        everything = models == self._lineage.models
        select, exclude = ("", "") if everything else (self._lineage.select(models), self._lineage.exclude(models))
        try:
            return self._dbt.run(
                self._watch, select, exclude, variables, self._watch.missing(models), self._watch.batches(models)
            )
        finally:
            # What has ended has, also where dbt is ended in the middle.
            self._watch.record()


def _nothing() -> Outcome:
    return Outcome(success=True)
