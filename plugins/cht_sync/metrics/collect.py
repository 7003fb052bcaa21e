"""Metrics of what was read of the destination and what health has found in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from cht_sync.connections import postgres_connection
from cht_sync.errors import SettingsError, StoreError
from cht_sync.monitoring.destination import opened
from cht_sync.monitoring.finding import Finding, Kind, Limits
from cht_sync.monitoring.health import BAD_PROOFS, LATELY, is_gone, is_gone_by, is_shown, judge
from cht_sync.monitoring.parts import PARTS, PartName
from cht_sync.monitoring.reader import read
from cht_sync.monitoring.state import MOST, Dag, Facts, ModelWord, Source, Task
from cht_sync.recreation import number_of
from cht_sync.settings import Settings

_NOT_READ = {"rows", "ledger", "rejects"}
# How a source is read.
_READING = {Kind.SOURCE, Kind.RETRYING, Kind.MISSED, Kind.UNREAD}
_GUARDED = {ModelWord.SHRUNK, ModelWord.HELD}


class DestinationCollector:
    """Reads anew for each scrape, each part by itself; where Postgres does not answer, that alone is told.

    Source: https://prometheus.github.io/client_python/collector/custom/

    :param dag: what Airflow knows of the DAG; None where its database does not answer.
    :param tasks: the newest task of each source.
    """

    def __init__(self, dag: Dag | None, tasks: dict[str, Task]) -> None:
        self._dag, self._tasks = dag, tasks

    def collect(self) -> Iterable[Metric]:
        """All metrics."""
        found: list[Metric] = []
        with suppress(SettingsError, StoreError):
            settings, now = Settings(), datetime.now(UTC)
            facts, findings = self.find_all(settings, now)
            if facts.prepared and facts.knows("tables"):
                found = [*metrics_of(facts, findings, now, settings.dbt_schema)]
        up = GaugeMetricFamily("cht_sync_up", "Whether PostgreSQL answers and the copy has run.")
        up.add_metric([], float(bool(found)))
        return [up, *found]

    def find_all(self, settings: Settings, now: datetime) -> tuple[Facts, list[Finding]]:
        """What was read, and what health finds in it.

        :param settings: the environment.
        :param now: the time, with a zone.
        :raises SettingsError: if role, password, database or a right are refused.
        :raises StoreError: if the server does not answer, or not in time.
        """
        # Where Airflow does not answer nobody can say of a source that it is not copied any more.
        gone = is_gone(self._dag, self._tasks, now) if self._dag else is_gone_by(None)
        with opened(postgres_connection(settings), settings, "read metrics") as destination:
            facts = read(destination, now, self._tasks, gone, incidents=True)
        facts.dag = self._dag
        return facts, judge(facts, self._tasks, now, Limits.of(settings, now))


def metrics_of(facts: Facts, findings: list[Finding], now: datetime, schema: str) -> Iterator[Metric]:
    """The metrics; of a part that is not known nothing is told.

    :param facts: what was read; its sources have their states.
    :param findings: what health has found in it.
    :param now: the time, with a zone.
    :param schema: of the models.
    """
    metrics: dict[PartName, Iterable[Metric]] = {
        "task_errors": _task_errors(facts),
        "sources": _sources(facts, findings, now),
        "groups": _lags(facts, schema),
        "models": _models(facts),
        "quarantine": _quarantine(facts),
        "first_load": _first_loads(facts),
        "proofs": _proofs(facts.sources),
        "incidents": _incidents(facts),
        "collisions": _gone_owners(findings),
        "doubts": _doubts(findings),
        "older_revisions": _older_revisions(findings),
        "removed": _removed(facts),
    }
    for part, these in metrics.items():
        if facts.knows(part):
            yield from these
    known = GaugeMetricFamily(
        "cht_sync_part_known", "Whether a part of the state could be read; of one that is not, nothing is told.",
        labels=["part"],
    )  # fmt: skip
    for part in PARTS:
        if part not in _NOT_READ:
            _add(known, [part], facts.knows(part))
    yield known
    yield _findings(findings)


def _findings(findings: Sequence[Finding]) -> Metric:
    number = GaugeMetricFamily(
        "cht_sync_findings", "What the status page tells of, by kind and by how bad it is.", labels=["kind", "state"]
    )
    counts = Counter((each.kind.value, each.severity) for each in findings if is_shown(each))
    for (kind, state), many in sorted(counts.items()):
        _add(number, [kind, state], many)
    return number


def _sources(facts: Facts, findings: Sequence[Finding], now: datetime) -> Iterator[Metric]:
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
    missed = {each.subject for each in findings if each.kind in _READING and each.told}
    for source in facts.sources:
        known = facts.progress.get(source.source)
        if known is None:
            continue
        labels = list(source.source.partition("/")[::2])
        # Nobody is missed who is not copied any more.
        if source.copied or (source.looked_at and now - source.looked_at <= LATELY):
            _add(up, labels, source.source not in missed)
        _add(sequence, labels, number_of(known.seq))
        # What waits in CouchDB is known while it is read: a number of before is none.
        if source.source not in missed and source.error is None:
            _add(pending, labels, source.pending)
        _add(looked, [source.source], source.looked_at)
        _add(drained, [source.source], known.drained_at)
    yield from (up, sequence, pending, looked, drained)


def _lags(facts: Facts, schema: str) -> Iterator[Metric]:
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
    for group in facts.groups:
        _add(waiting, [schema, group.models], group.waiting_since)
    for run in facts.runs:
        if run.models_schema == schema:
            _add(latency, [run.models or "document_metadata"], run.lag)
        _add(lag, [run.models_schema, run.models], run.lag)
        _add(good, [run.models_schema, run.models], run.succeeded_at)
    yield from (latency, lag, good, waiting)


def _models(facts: Facts) -> Iterator[Metric]:
    time = GaugeMetricFamily("dbt_execution_time", "Seconds that a model took the last time.", labels=["table_name"])
    count = GaugeMetricFamily("cht_sync_model_rows", "Rows of a model after its last run.", labels=["model"])
    failing = GaugeMetricFamily("cht_sync_model_failing", "Whether a model fails.", labels=["model"])
    guarded = GaugeMetricFamily("cht_sync_model_guarded", "Whether the guard holds a model back.", labels=["model"])
    for model in sorted(facts.models, key=lambda model: model.name):
        _add(time, [model.name], model.seconds)
        _add(count, [model.name], model.rows)
        _add(failing, [model.name], model.word is ModelWord.FAILING)
        _add(guarded, [model.name], model.word in _GUARDED)
    yield from (time, count, failing, guarded)


def _quarantine(facts: Facts) -> Iterator[Metric]:
    quarantined = _of_source("cht_sync_quarantined_documents", "Documents in quarantine.")
    for name, held in facts.quarantine.items():
        _add(quarantined, [name], held.number)
    yield quarantined


def _first_loads(facts: Facts) -> Iterator[Metric]:
    loaded = _of_source("cht_sync_first_load_documents", "Documents that a first load has stored.")
    expected = _of_source("cht_sync_first_load_expected_documents", "About how many a first load has to store.")
    for name, load in facts.first_loads.items():
        if not load.finished:
            _add(loaded, [name], load.documents)
            _add(expected, [name], load.expected)
    yield from (loaded, expected)


def _proofs(sources: Collection[Source]) -> Iterator[Metric]:
    equal = _of_source("cht_sync_proof_equal", "Whether the last proof found the copy equal, or made it so.")
    proven = _of_source("cht_sync_proof_timestamp_seconds", "When the last proof ended.")
    for source in sources:
        if source.proof and source.proof.verdict != "under way":
            _add(equal, [source.source], source.proof.verdict not in BAD_PROOFS)
            _add(proven, [source.source], source.proof.at)
    yield from (equal, proven)


def _incidents(facts: Facts) -> Iterator[Metric]:
    incidents = GaugeMetricFamily("cht_sync_open_incidents", "Incidents that last.", labels=["kind"])
    for kind, number in facts.incidents.items():
        _add(incidents, [kind], number)
    yield incidents


def _gone_owners(findings: Iterable[Finding]) -> Iterator[Metric]:
    hidden = GaugeMetricFamily(
        "cht_sync_documents_of_gone_owner",
        f"Documents whose ids belong to a source that is not configured any more; {MOST + 1} for more than {MOST}.",
        labels=["source", "owner"],
    )
    for each in findings:
        if each.kind is Kind.GONE_OWNER:
            _add(hidden, [each.about.source, each.about.owner], each.about.documents)
    yield hidden


def _doubts(findings: Iterable[Finding]) -> Iterator[Metric]:
    doubts = _of_source("cht_sync_source_in_doubt", "1 where the copy may not be complete until the next proof.")
    for each in findings:
        if each.kind is Kind.DOUBT:
            _add(doubts, [each.subject], 1)
    yield doubts


def _older_revisions(findings: Iterable[Finding]) -> Iterator[Metric]:
    older = _of_source(
        "cht_sync_older_revisions", "Documents of which CouchDB shows an older revision than PostgreSQL holds, or none."
    )
    for each in findings:
        if each.kind is Kind.OLDER_REVISION:
            _add(older, [each.subject], each.about.older_revisions.documents)
    yield older


def _removed(facts: Facts) -> Iterator[Metric]:
    removed = GaugeMetricFamily(
        "cht_sync_removed_relation", "1 for each table that is left of a model that was removed.", labels=["relation"]
    )
    for each in facts.removed:
        _add(removed, [each.relation], 1)
    yield removed


def _task_errors(facts: Facts) -> Iterator[Metric]:
    failing = GaugeMetricFamily(
        "cht_sync_task_failing_since_timestamp_seconds",
        "When the first of the tries failed that a task has made since without success.",
        labels=["dag_id", "task_id", "subject"],
    )
    for each in facts.task_errors:
        _add(failing, [each.dag_id, each.task_id, each.subject], each.first_at)
    yield failing


def _of_source(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=["source"])


def _add(family: GaugeMetricFamily, labels: list[str], value: Any) -> None:
    if value is not None:
        family.add_metric(labels, value.timestamp() if isinstance(value, datetime) else float(value))
