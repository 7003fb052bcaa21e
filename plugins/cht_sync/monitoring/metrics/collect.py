"""Metrics of the state and of the findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily, Metric

from cht_sync.errors import SettingsError, StoreError
from cht_sync.monitoring.airflow_state import Dag, Task
from cht_sync.monitoring.destination import opened
from cht_sync.monitoring.finding import Finding, Kind, Limits
from cht_sync.monitoring.health import is_shown, judge
from cht_sync.monitoring.parts import PARTS, PartName
from cht_sync.monitoring.reader import read
from cht_sync.monitoring.source_state import BAD_PROOFS, LATELY, is_gone, is_gone_by
from cht_sync.monitoring.state import MOST, Facts, ModelWord
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.sync.database_identity import number_of

_NOT_READ = {"rows", "ledger", "rejects"}
# How a source is read.
_READING = {Kind.SOURCE, Kind.RETRYING, Kind.MISSED, Kind.UNREAD}
_GUARDED = {ModelWord.SHRUNK, ModelWord.HELD}
_OLD, _SOURCE, _MODEL, _RUN = ("cht_instance", "db"), ("source",), ("model",), ("models_schema", "models")
# Help text and labels of each metric.
_NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "couch2pg_up": (
        "Whether a source was read since CHT_ALERT_FAILING_MINUTES ago, or since the last run before that was due.",
        _OLD,
    ),
    "couch2pg_progress_sequence": ("Number in front of the seq that the copy has come to.", _OLD),
    "couch2pg_progress_pending": ("Pending changes in CouchDB, while it is read.", _OLD),
    "cht_sync_source_looked_at_timestamp_seconds": ("When a source was last read.", _SOURCE),
    "cht_sync_source_drained_timestamp_seconds": ("When all changes of a source were last read.", _SOURCE),
    "dbt_latency": ("Seconds between the newest document and the newest that models have seen.", ("table_name",)),
    "cht_sync_models_lag_seconds": ("The same, by schema and selection.", _RUN),
    "cht_sync_models_succeeded_timestamp_seconds": ("When models last completed a run.", _RUN),
    "cht_sync_models_waiting_since_timestamp_seconds": (
        "When the oldest document was stored that the models have not seen; also where they never completed a run.",
        _RUN,
    ),
    "dbt_execution_time": ("Seconds that a model took the last time.", ("table_name",)),
    "cht_sync_model_rows": ("Rows of a model after its last run.", _MODEL),
    "cht_sync_model_failing": ("Whether a model fails.", _MODEL),
    "cht_sync_model_guarded": ("Whether the row-loss check blocks a model.", _MODEL),
    "cht_sync_quarantined_documents": ("Documents in quarantine.", _SOURCE),
    "cht_sync_first_load_documents": ("Documents that a first load has stored.", _SOURCE),
    "cht_sync_first_load_expected_documents": ("About how many a first load has to store.", _SOURCE),
    "cht_sync_proof_equal": ("Whether the last reconciliation verified the copy, also by repairs.", _SOURCE),
    "cht_sync_proof_timestamp_seconds": ("When the last reconciliation ended.", _SOURCE),
    "cht_sync_open_incidents": ("Open incidents.", ("kind",)),
    "cht_sync_documents_of_gone_owner": (
        f"Documents whose ids belong to a source that is no longer configured; {MOST + 1} for more than {MOST}.",
        ("source", "owner"),
    ),
    "cht_sync_source_in_doubt": ("1 where the copy may be incomplete until the next reconciliation.", _SOURCE),
    "cht_sync_older_revisions": (
        "Documents of which CouchDB shows an older revision than PostgreSQL holds, or none.", _SOURCE,
    ),
    "cht_sync_removed_relation": ("1 for each table that is left of a model that was removed.", ("relation",)),
    "cht_sync_task_failing_since_timestamp_seconds": (
        "When the first of the tries failed that a task has made since without success.",
        ("dag_id", "task_id", "subject"),
    ),
    "cht_sync_findings": ("Findings of the status page, by kind and severity.", ("kind", "state")),
    "cht_sync_part_known": (
        "Whether a part of the state could be read; of one that was not, there are no metrics.", ("part",),
    ),
}  # fmt: skip
# Name of a metric, value, and its labels; without a value there is no sample.
Sample = tuple[Any, ...]


class DestinationCollector:
    """Reads again for each scrape, each part by itself; without an answer of Postgres there is ``cht_sync_up`` alone.

    Source: https://prometheus.github.io/client_python/collector/custom/

    :param dag: None where Airflow's database does not answer.
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

        :raises SettingsError: if role, password, database or a right are refused.
        :raises StoreError: if the server does not answer, or not in time.
        """
        # Where Airflow does not answer, every source counts as copied.
        gone = is_gone(self._dag, self._tasks, now) if self._dag else is_gone_by(None)
        with opened(postgres_connection(settings), settings, "read metrics") as destination:
            facts = read(destination, now, self._tasks, gone, incidents=True)
        facts.dag = self._dag
        return facts, judge(facts, self._tasks, now, Limits.of(settings, now))


def metrics_of(facts: Facts, findings: list[Finding], now: datetime, schema: str) -> Iterator[Metric]:
    """The metrics; a part that could not be read has none.

    :param facts: what was read; its sources have their states.
    """
    parts: dict[PartName, Iterable[Sample]] = {
        "sources": _sources(facts, findings, now),
        "groups": _lags(facts, schema),
        "models": _models(facts),
        "proofs": _proofs(facts),
        "first_load": _first_loads(facts),
        "quarantine": (
            ("cht_sync_quarantined_documents", held.number, name) for name, held in facts.quarantine.items()
        ),
        "incidents": (("cht_sync_open_incidents", number, kind) for kind, number in facts.incidents.items()),
        "removed": (("cht_sync_removed_relation", 1, each.relation) for each in facts.removed),
        "task_errors": (
            ("cht_sync_task_failing_since_timestamp_seconds", each.first_at, each.dag_id, each.task_id, each.subject)
            for each in facts.task_errors
        ),
    }
    families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in _NAMES.items()}
    samples = [sample for part, these in parts.items() if facts.knows(part) for sample in these]
    for name, value, *labels in (*samples, *_findings(facts, findings)):
        if value is not None:
            number = value.timestamp() if isinstance(value, datetime) else float(value)
            families[name].add_metric(labels, number)
    yield from families.values()


def _sources(facts: Facts, findings: list[Finding], now: datetime) -> Iterator[Sample]:
    missed = {each.subject for each in findings if each.kind in _READING and each.told}
    for source in facts.sources:
        known, name = facts.progress.get(source.source), source.source
        if known is None:
            continue
        old = name.partition("/")[::2]
        # A source that is no longer copied is not down.
        if source.copied or (source.looked_at and now - source.looked_at <= LATELY):
            yield ("couch2pg_up", name not in missed, *old)
        yield ("couch2pg_progress_sequence", number_of(known.seq), *old)
        # What is pending is known while the source is read: an older number is wrong.
        if name not in missed and source.error is None:
            yield ("couch2pg_progress_pending", source.pending, *old)
        yield "cht_sync_source_looked_at_timestamp_seconds", source.looked_at, name
        yield "cht_sync_source_drained_timestamp_seconds", known.drained_at, name


def _lags(facts: Facts, schema: str) -> Iterator[Sample]:
    for group in facts.groups:
        yield "cht_sync_models_waiting_since_timestamp_seconds", group.waiting_since, schema, group.models
    for run in facts.runs:
        if run.models_schema == schema:
            yield "dbt_latency", run.lag, run.models or "document_metadata"
        yield "cht_sync_models_lag_seconds", run.lag, run.models_schema, run.models
        yield "cht_sync_models_succeeded_timestamp_seconds", run.succeeded_at, run.models_schema, run.models


def _models(facts: Facts) -> Iterator[Sample]:
    for model in sorted(facts.models, key=lambda model: model.name):
        yield "dbt_execution_time", model.seconds, model.name
        yield "cht_sync_model_rows", model.rows, model.name
        yield "cht_sync_model_failing", model.word is ModelWord.FAILING, model.name
        yield "cht_sync_model_guarded", model.word in _GUARDED, model.name


def _first_loads(facts: Facts) -> Iterator[Sample]:
    for name, load in facts.first_loads.items():
        if not load.finished:
            yield "cht_sync_first_load_documents", load.documents, name
            yield "cht_sync_first_load_expected_documents", load.expected, name


def _proofs(facts: Facts) -> Iterator[Sample]:
    for source in facts.sources:
        if source.proof and source.proof.verdict != "under way":
            yield "cht_sync_proof_equal", source.proof.verdict not in BAD_PROOFS, source.source
            yield "cht_sync_proof_timestamp_seconds", source.proof.at, source.source


def _findings(facts: Facts, findings: list[Finding]) -> Iterator[Sample]:
    for each in findings:
        if each.kind is Kind.GONE_OWNER:
            yield "cht_sync_documents_of_gone_owner", each.about.documents, each.about.source, each.about.owner
        elif each.kind is Kind.DOUBT:
            yield "cht_sync_source_in_doubt", 1, each.subject
        elif each.kind is Kind.OLDER_REVISION:
            yield "cht_sync_older_revisions", each.about.older_revisions.documents, each.subject
    counts = Counter((each.kind.value, each.severity) for each in findings if is_shown(each))
    yield from (("cht_sync_findings", number, *labels) for labels, number in sorted(counts.items()))
    yield from (("cht_sync_part_known", facts.knows(part), part) for part in PARTS if part not in _NOT_READ)
