"""The small tasks of the DAG ``cht_reconcile``, before and behind the comparisons."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import get_current_context, task
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from cht_sync.callbacks.task_callbacks import LAST_TASK
from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.sources import Source, configured_sources
from cht_sync.errors import SettingsError
from cht_sync.reconcile.postgres_side import StoredSide
from cht_sync.reconcile.report import Line, line_of, table, vanished
from cht_sync.reconcile.results import BESIDE, INTERVAL
from cht_sync.reconcile.run import open_proof
from cht_sync.reconcile.scope import Interval
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.document_store import DocumentStore

log = logging.getLogger(__name__)
DAY = timedelta(days=1)
Parts = list[dict[str, Any]]


@task(task_id="plan", task_display_name="plan: what is to be compared", multiple_outputs=False)
def plan_parts() -> Parts:
    """Names the parts of each source that are to be compared, and notes them in ``couchdb_reconciliation``.

    :return: arguments of the operator for each part, save for those that follow the others.
    :raises CouchDBError: if CouchDB does not answer: a full proof is not left out in silence.
    """
    settings, context = Settings(), get_current_context()
    settings.check()
    with DocumentStore(postgres_connection(settings), settings.raw_table, "cht_reconcile plan") as store:
        store.prepare()
        doubts = store.doubts()
    interval, full = interval_of(context), is_full(settings, context)
    for source, doubt in doubts.items():
        log.warning("%s is compared as a whole: %s", source, doubt)
    parts = [
        {**source, "part": name}
        for source in configured_sources(settings)
        for name in _plan(settings, source, context, interval, full or source["source"] in doubts)
    ]
    log.info("From %s to before %s: %d parts%s.", interval.start, interval.end, len(parts), ", all" if full else "")
    return [part for part in parts if part["part"] != BESIDE]


@task(task_id="plan_beside", task_display_name="plan_beside: sources compared whole", multiple_outputs=False)
def plan_beside(parts: Parts) -> Parts:
    """Names the sources of which all documents are compared, for what is done behind it."""
    full = [part for part in parts if part["part"] != INTERVAL]
    return list({part["source"]: {**part, "part": BESIDE} for part in full}.values())


def _plan(settings: Settings, source: Source, context: Any, interval: Interval, full: bool) -> list[str]:
    hook = CouchDBHook(source["couchdb_conn_id"])
    with open_proof(settings, hook, source["database"], source["source"], context) as proof:
        try:
            return proof.plan(interval, full)
        except SettingsError as error:
            # Its own task meets the same and fails; the other sources are proven all the same.
            log.warning("%s cannot be listed: %s", source["source"], error)
            return proof.plan(interval, full=False)


def interval_of(context: Any) -> Interval:
    """The data interval of a run; of one without, triggered by hand, the day before it."""
    start, end = context.get("data_interval_start"), context.get("data_interval_end")
    if start is None or end is None or start == end:
        end = end or context["dag_run"].run_after
        start = end - DAY
    return Interval(start, end)


def is_full(settings: Settings, context: Any) -> bool:
    """Whether a run compares all documents: where its param says so, and on one day of each week by its schedule."""
    if context["params"].get("full_proof"):
        return True
    run, end = context["dag_run"], context.get("data_interval_end")
    return str(run.run_type) == "scheduled" and end is not None and end.weekday() == settings.full_proof_day


@task(
    task_id="verify", task_display_name="verify: is the copy complete?", trigger_rule="all_done", retries=0, **LAST_TASK
)
def report_verdicts() -> None:
    """Says on one line for each source whether the copy is complete, and forgets what is too old.

    :raises AirflowFailException: if something is different still, or in doubt.
    """
    settings, context = Settings(), get_current_context()
    settings.check()
    sources, lines = configured_sources(settings), []
    configured = [source["source"] for source in sources]
    for source in sources:
        hook = CouchDBHook(source["couchdb_conn_id"])
        with open_proof(settings, hook, source["database"], source["source"], context) as proof:
            summary = proof.results.summary()
            if not summary.bad:
                proof.clear_doubt()
            name, database = source["source"], source["database"]
            lines.append(line_of(hook, database, name, proof.stored, summary, configured=configured))
            proof.results.prune(settings.ledger_days)
    with StoredSide(postgres_connection(settings), settings.raw_table, "all") as stored:
        beside = vanished(stored, configured)
    log.info("The copy against CouchDB:\n%s", table([*lines, *beside]))
    _judge([*lines, *(beside if is_full(settings, context) else [])])


def _judge(lines: list[Line]) -> None:
    bad = [line for line in lines if not line.equal]
    if bad:
        named = "; ".join(f"{line.source}: {line.verdict}. {' '.join(line.reasons)}".strip() for line in bad)
        raise AirflowFailException(f"The copy is not proven to be complete: {named}")
    if lines and all(line.verdict == "skipped" for line in lines):
        raise AirflowSkipException(" ".join(reason for line in lines for reason in line.reasons))
