"""Which batches of a microbatch model dbt builds, and what it says of them.

By itself dbt builds the batches of now and of ``lookback``: those of days without a run, those that failed and those of
documents that come later stay empty, and the model is green. Here it also builds what no run has built to a good end,
and the batches of rows that have come since, by the column ``saved_timestamp`` of what the model reads.
Source: https://docs.getdbt.com/docs/build/incremental-microbatch, ``MicrobatchModelRunner`` in ``dbt/task/run.py``
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from cht_sync.dbt.subprocess.sql_text import quoted
from cht_sync.redaction import of_text

STAMP = "saved_timestamp"
_DONE = "_cht_sync_covers_batches"
_NOTHING_YET = "-infinity"
_in_batch: ContextVar[bool] = ContextVar("in_batch", default=False)
# By unique id of a model: ``until``, when the newest run began that has built all before, and ``seen``, the newest
# stamp of each that it reads, by unique id. What earlier runs have noted, and what this one has.
known: dict[str, dict[str, Any]] = {}
noted: dict[str, dict[str, Any]] = {}


def is_in_batch() -> bool:
    """Whether what dbt tells now, in this thread, is of one batch of a model."""
    return _in_batch.get()


def cover_batches() -> None:
    """Has dbt in this process build all batches that are missing; called before dbt runs, as often as one likes."""
    from dbt.task.run import MicrobatchBatchRunner, MicrobatchModelRunner, RunTask

    if getattr(MicrobatchModelRunner, _DONE, False):
        return
    for owner, name, covering in (
        (RunTask, "call_runner", _marked),
        (MicrobatchBatchRunner, "_build_failed_run_batch_result", _explained),
        (MicrobatchModelRunner, "get_batches", _covering),
        (MicrobatchModelRunner, "execute", _noting),
    ):
        setattr(owner, name, covering(getattr(owner, name)))
    setattr(MicrobatchModelRunner, _DONE, True)


def _marked(original: Any) -> Any:
    from dbt.task.run import MicrobatchBatchRunner

    def call_runner(self: Any, runner: Any) -> Any:
        token = _in_batch.set(isinstance(runner, MicrobatchBatchRunner))
        try:
            result = original(self, runner)
        finally:
            _in_batch.reset(token)
        if isinstance(runner, MicrobatchBatchRunner) and str(result.status) == "error":
            node = self.manifest.nodes[runner.node.unique_id]
            if not getattr(node, "cht_sync_failed", ""):
                node.cht_sync_failed = f"{runner.describe_batch().partition(' of ')[0]}: {result.message}"
                # For who looks for the documents that it fails on.
                node.compiled_code = runner.node.compiled_code
        return result

    return call_runner


def _explained(original: Any) -> Any:
    def _build_failed_run_batch_result(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = original(self, *args, **kwargs)
        # dbt itself says no more than that it is an error.
        if error := sys.exc_info()[1]:
            result.message = " ".join(of_text(str(error)).split())
        return result

    return _build_failed_run_batch_result


def _covering(original: Any) -> Any:
    def get_batches(self: Any, model: Any) -> dict[int, Any]:
        batches = list(original(self, model).values())
        builder = self.get_microbatch_builder(model)
        if model.previous_batch_results is not None or builder.event_time_start or builder.event_time_end:
            return dict(enumerate(batches))
        read = list(_read(self, model, tell=not builder.is_incremental))
        stamps = {name: _newest(self, place) for name, place, _, _ in read}
        self.cht_sync_note = {"until": builder.default_end_time.astimezone(UTC).isoformat(), "seen": stamps}
        if builder.is_incremental and model.config.begin:
            batches = _missed(builder, batches, known.get(model.unique_id)) or batches
            batches += _late(self, builder, batches[0][0], known.get(model.unique_id), read)
        self.adapter.clear_transaction()
        return dict(enumerate(batches))

    return get_batches


def _noting(original: Any) -> Any:
    def execute(self: Any, model: Any, manifest: Any) -> Any:
        self.cht_sync_manifest = manifest
        result = original(self, model, manifest)
        note = getattr(self, "cht_sync_note", None)
        if why := getattr(manifest.nodes[model.unique_id], "cht_sync_failed", ""):
            result.message = f"{result.message}, {why}"
        if note and str(result.status) == "success":
            noted[model.unique_id] = known[model.unique_id] = note
        elif note and model.unique_id not in known and result.batch_results.successful:
            # The first build, of which some batches are there: the next run goes on before the first that is not.
            first = min(start for start, _ in result.batch_results.failed)
            noted[model.unique_id] = known[model.unique_id] = {**note, "until": first.isoformat()}
        return result

    return execute


def _missed(builder: Any, batches: list[Any], mark: dict[str, Any] | None) -> list[Any]:
    """All batches since the newest run that has built them; from the first on, where nothing is known of any."""
    first = builder.truncate_timestamp(builder.model.config.begin, builder.model.config.batch_size)
    if mark:
        first = max(first, builder.build_start_time(datetime.fromisoformat(mark["until"])))
    if first >= batches[0][0]:
        return []
    since = f"since {builder.format_batch_start(first, builder.model.config.batch_size)}"
    why = "no run has built them" if mark else "it is not known which of them are built"
    _say(logging.INFO, f"{builder.model.name}: batches {since} are built, as {why}.")
    return list(builder.build_batches(first, batches[-1][1]))


def _late(runner: Any, builder: Any, before: datetime, mark: dict[str, Any] | None, read: list[Any]) -> list[Any]:
    """The batches of what has come since, for times before those of the others."""
    from dbt.artifacts.resources.types import BatchSize

    size = BatchSize(builder.model.config.batch_size)
    begin = builder.truncate_timestamp(builder.model.config.begin, size)
    starts: set[datetime] = set()
    for name, place, column, kind in read if mark else ():
        seen = mark["seen"].get(name, _NOTHING_YET) if mark else _NOTHING_YET
        moment = f"{column} at time zone 'UTC'" if kind == "timestamp with time zone" else f"{column}::timestamp"
        # Names of the project and times: dbt takes text alone.
        query = (
            f"select distinct date_trunc('{size.value}', {moment}) from {place}"  # noqa: S608
            f" where {STAMP} > '{seen}' and {column} >= '{begin}' and {column} < '{before}'"
        )
        starts |= {row[0].replace(tzinfo=UTC) for row in _rows(runner, query)}
    if starts:
        _say(logging.INFO, f"{builder.model.name}: {len(starts)} earlier batches are built for what has come since.")
    return [(start, builder.offset_timestamp(start, size, 1)) for start in sorted(starts)]


def _read(runner: Any, model: Any, tell: bool) -> Iterator[tuple[str, str, str, str]]:
    """What a model reads by time and that has stamps: unique id, relation, column of the time and its type."""
    from dbt.artifacts.resources.types import BatchSize

    manifest = runner.cht_sync_manifest
    for name in model.depends_on.nodes:
        node = manifest.nodes.get(name) or manifest.sources.get(name)
        column = getattr(node.config, "event_time", None) if node else None
        if not column:
            continue
        relation = runner.adapter.Relation.create_from(runner.config, node)
        columns = {each.name: each.dtype for each in runner.adapter.get_columns_in_relation(relation)}
        # PostgreSQL folds a name that is not quoted.
        there = column if column in columns else column.lower()
        kind = columns.get(there, "")
        if kind.startswith(("timestamp", "date")) and columns.get(STAMP, "").startswith("timestamp"):
            yield name, str(relation), quoted(there), kind
        elif tell:
            back = f"{model.config.lookback} {BatchSize(model.config.batch_size).value}(s)"
            _say(
                logging.WARNING,
                f"{model.name} is built in batches by {column} of {node.name}, which does not tell by a column {STAMP}"
                f" what has come since: a document that comes more than {back} after its {column} is missing in"
                f" {model.name}. Let {node.name} select {STAMP}, or raise lookback of {model.name}.",
            )


def _newest(runner: Any, place: str) -> str:
    return str(_rows(runner, f"select coalesce(max({STAMP})::text, '{_NOTHING_YET}') from {place}")[0][0])  # noqa: S608


def _rows(runner: Any, query: str) -> list[Any]:
    return list(runner.adapter.execute(query, fetch=True)[1].rows)


def _say(level: int, text: str) -> None:
    print(json.dumps((level, text)), flush=True)
