"""Metrics from the small tables of the destination; nothing is counted in the table of documents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client.core import GaugeMetricFamily, Metric

from cht_sync.connections import postgres_connection
from cht_sync.errors import SettingsError, StoreError
from cht_sync.health.findings import (
    MOST,
    IsGone,
    TaskError,
    of_sources,
    read_doubts,
    read_gone_owners,
    read_older_revisions,
    read_task_errors,
)
from cht_sync.health.models_lag import read_models_lag
from cht_sync.health.parts import PARTS, PartName
from cht_sync.recreation import number_of
from cht_sync.settings import Settings
from cht_sync.web.destination import opened

if TYPE_CHECKING:
    from cht_sync.web.destination import Destination

# What waits in CouchDB is known while it is read: a number of before is none.
_PROGRESS = """
select source, seq, case when updated_at >= %(due)s then pending end as pending, updated_at,
    extract(epoch from updated_at)::float8 as looked_at, extract(epoch from drained_at)::float8 as drained_at,
    coalesce(updated_at >= %(due)s, false) as up
from {schema}.couchdb_progress order by source
"""
_LATENCY = """
select models_schema, models, models_schema = %(schema)s as ours,
    extract(epoch from succeeded_at)::float8 as succeeded_at,
    greatest(extract(epoch from (
        select max(saved_timestamp) from {schema}.{table}) - modelled_to
    )::float8, 0) as lag
from {schema}.couchdb_model_run where models_schema <> %(schema)s or models = %(selected)s
"""
_MODELS = """
select name, seconds, row_count, failing_since is not null as failing, held is not null or status = 'shrunk' as guarded
from {schema}.couchdb_model_result where models_schema = %(schema)s and {in_use} order by name
"""
_QUARANTINE = """
select source, count(*) as number from {schema}.couchdb_quarantine where resolved_at is null group by source
"""
_FIRST_LOAD = """
select source, sum(documents)::float8 as documents, sum(expected)::float8 as expected,
    bool_and(finished_at is not null) as finished
from {schema}.couchdb_first_load group by source
"""
_PROOF = """
with ended as (
    select source, run, min(planned_at) as planned, max(finished_at) as at,
        bool_and(verdict in ('equal', 'repaired', 'skipped')) as good
    from {schema}.couchdb_reconciliation where planned_at > now() - interval '40 days'
    group by source, run having bool_and(verdict is not null)
)
select distinct on (source) source, good, extract(epoch from at)::float8 as at from ended order by source, planned desc
"""
_INCIDENTS = "select kind, count(*) as number from {schema}.couchdb_incident where resolved_at is null group by kind"


class DestinationCollector:
    """Reads anew for each scrape, each part by itself; where Postgres does not answer, that alone is told.

    Source: https://prometheus.github.io/client_python/collector/custom/

    :param is_gone: whether nobody copies the source of that name, last looked at at that time, any more.
    """

    def __init__(self, is_gone: IsGone) -> None:
        self._is_gone = is_gone

    def collect(self) -> Iterable[Metric]:
        """All metrics."""
        found: list[Metric] = []
        ready = False
        with suppress(SettingsError, StoreError):
            settings = Settings()
            with opened(postgres_connection(settings), settings, "read metrics") as destination:
                ready = destination.ask("tables", destination.ready, False)
                if ready:
                    found = [*self._parts(destination), _known(destination)]
        up = GaugeMetricFamily("cht_sync_up", "Whether PostgreSQL answers and the copy has run.")
        up.add_metric([], float(ready and bool(found)))
        return [up, *found]

    def _parts(self, destination: Destination) -> Iterator[Metric]:
        now = datetime.now(UTC)
        errors = destination.ask("task_errors", lambda: read_task_errors(destination, now), list[TaskError]())
        questions: dict[PartName, Callable[[], Iterable[Metric]]] = {
            "task_errors": lambda: _task_errors(errors),
            "sources": lambda: _sources(destination, now, of_sources(errors)),
            "groups": lambda: _lags(destination),
            "models": lambda: _models(destination),
            "quarantine": lambda: _quarantine(destination),
            "first_load": lambda: _first_loads(destination),
            "proofs": lambda: _proofs(destination),
            "incidents": lambda: _incidents(destination),
            "collisions": lambda: _gone_owners(destination, self._is_gone),
            "doubts": lambda: _doubts(destination),
            "older_revisions": lambda: _older_revisions(destination),
        }
        for part, question in questions.items():
            yield from destination.ask(part, lambda question=question: list(question()), list[Metric]())  # type: ignore[misc]


def _known(destination: Destination) -> Metric:
    known = GaugeMetricFamily(
        "cht_sync_part_known", "Whether a part of the state could be read; of one that is not, nothing is told.",
        labels=["part"],
    )  # fmt: skip
    for part in PARTS:
        if part not in {"rows", "ledger", "rejects"}:
            _add(known, [part], destination.knows(part))
    return known


def _sources(destination: Destination, now: datetime, errors: dict[str, TaskError]) -> Iterator[Metric]:
    rows = destination.rows(_PROGRESS, due=destination.settings.read_since(now))
    old = ["cht_instance", "db"]
    sequence = GaugeMetricFamily(
        "couch2pg_progress_sequence", "Number in front of the seq that the copy has come to.", labels=old
    )
    up = GaugeMetricFamily(
        "couch2pg_up",
        "Whether a source was read since CHT_ALERT_FAILING_MINUTES ago, or since the last run before that was due.",
        labels=old,
    )
    pending = GaugeMetricFamily(
        "couch2pg_progress_pending", "Changes that wait in CouchDB, while it is read.", labels=old
    )
    looked = _of_source("cht_sync_source_looked_at_timestamp_seconds", "When a source was last read with success.")
    drained = _of_source("cht_sync_source_drained_timestamp_seconds", "When the feed was last read to its end.")
    for row in rows:
        labels = list(row["source"].partition("/")[::2])
        _add(up, labels, row["up"])
        _add(sequence, labels, number_of(row["seq"]))
        error = errors.get(row["source"])
        if error is None or (row["updated_at"] and error.last_at <= row["updated_at"]):
            _add(pending, labels, row["pending"])
        _add(looked, [row["source"]], row["looked_at"])
        _add(drained, [row["source"]], row["drained_at"])
    yield from (up, sequence, pending, looked, drained)


def _lags(destination: Destination) -> Iterator[Metric]:
    latency = GaugeMetricFamily(
        "dbt_latency",
        "Seconds between the newest document and the newest that models have seen.",
        labels=["table_name"],
    )
    lag = GaugeMetricFamily(
        "cht_sync_models_lag_seconds", "The same, by schema and selection.", labels=["models_schema", "models"]
    )
    good = GaugeMetricFamily(
        "cht_sync_models_succeeded_timestamp_seconds",
        "When models last ran to a good end.",
        labels=["models_schema", "models"],
    )
    waiting = GaugeMetricFamily(
        "cht_sync_models_waiting_since_timestamp_seconds",
        "When the oldest document was stored that the models have not seen; also where they never ran to a good end.",
        labels=["models_schema", "models"],
    )
    ours = read_models_lag(destination)
    schema = ours.models_schema
    if ours.waiting_since:
        _add(waiting, [schema, ours.models], ours.waiting_since.timestamp())
    for row in destination.rows(_LATENCY, schema=schema, selected=ours.models):
        if row["ours"]:
            _add(latency, [row["models"] or "document_metadata"], row["lag"])
        _add(lag, [row["models_schema"], row["models"]], row["lag"])
        _add(good, [row["models_schema"], row["models"]], row["succeeded_at"])
    yield from (latency, lag, good, waiting)


def _models(destination: Destination) -> Iterator[Metric]:
    time = GaugeMetricFamily("dbt_execution_time", "Seconds that a model took the last time.", labels=["table_name"])
    count = GaugeMetricFamily("cht_sync_model_rows", "Rows of a model after its last run.", labels=["model"])
    failing = GaugeMetricFamily("cht_sync_model_failing", "Whether a model fails.", labels=["model"])
    guarded = GaugeMetricFamily("cht_sync_model_guarded", "Whether the guard holds a model back.", labels=["model"])
    for row in destination.rows(_MODELS, schema=destination.settings.dbt_schema):
        _add(time, [row["name"]], row["seconds"])
        _add(count, [row["name"]], row["row_count"])
        _add(failing, [row["name"]], row["failing"])
        _add(guarded, [row["name"]], row["guarded"])
    yield from (time, count, failing, guarded)


def _quarantine(destination: Destination) -> Iterator[Metric]:
    quarantined = _of_source("cht_sync_quarantined_documents", "Documents in quarantine.")
    for row in destination.rows(_QUARANTINE):
        _add(quarantined, [row["source"]], row["number"])
    yield quarantined


def _first_loads(destination: Destination) -> Iterator[Metric]:
    loaded = _of_source("cht_sync_first_load_documents", "Documents that a first load has stored.")
    expected = _of_source("cht_sync_first_load_expected_documents", "About how many a first load has to store.")
    for row in destination.rows(_FIRST_LOAD):
        if not row["finished"]:
            _add(loaded, [row["source"]], row["documents"])
            _add(expected, [row["source"]], row["expected"])
    yield from (loaded, expected)


def _proofs(destination: Destination) -> Iterator[Metric]:
    equal = _of_source("cht_sync_proof_equal", "Whether the last proof found the copy equal, or made it so.")
    proven = _of_source("cht_sync_proof_timestamp_seconds", "When the last proof ended.")
    for row in destination.rows(_PROOF):
        _add(equal, [row["source"]], row["good"])
        _add(proven, [row["source"]], row["at"])
    yield from (equal, proven)


def _incidents(destination: Destination) -> Iterator[Metric]:
    incidents = GaugeMetricFamily("cht_sync_open_incidents", "Incidents that last.", labels=["kind"])
    for row in destination.rows(_INCIDENTS):
        _add(incidents, [row["kind"]], row["number"])
    yield incidents


def _gone_owners(destination: Destination, is_gone: IsGone) -> Iterator[Metric]:
    hidden = GaugeMetricFamily(
        "cht_sync_documents_of_gone_owner",
        f"Documents whose ids belong to a source that is not configured any more; {MOST + 1} for more than {MOST}.",
        labels=["source", "owner"],
    )
    for each in read_gone_owners(destination, is_gone):
        _add(hidden, [each.source, each.owner], each.documents)
    yield hidden


def _doubts(destination: Destination) -> Iterator[Metric]:
    doubts = _of_source("cht_sync_source_in_doubt", "1 where the copy may not be complete until the next proof.")
    for each in read_doubts(destination):
        _add(doubts, [each.source], 1)
    yield doubts


def _older_revisions(destination: Destination) -> Iterator[Metric]:
    older = _of_source(
        "cht_sync_older_revisions", "Documents of which CouchDB shows an older revision than PostgreSQL holds, or none."
    )
    for each in read_older_revisions(destination):
        _add(older, [each.source], each.documents)
    yield older


def _task_errors(errors: Iterable[TaskError]) -> Iterator[Metric]:
    failing = GaugeMetricFamily(
        "cht_sync_task_failing_since_timestamp_seconds",
        "When the first of the tries failed that a task has made since without success.",
        labels=["dag_id", "task_id", "subject"],
    )
    for each in errors:
        _add(failing, [each.dag_id, each.task_id, each.subject], each.first_at.timestamp())
    yield failing


def _of_source(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["source"])


def _add(family: GaugeMetricFamily, labels: list[str], value: Any) -> None:
    if value is not None:
        family.add_metric(labels, float(value))
