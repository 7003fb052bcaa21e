"""The small tasks of the DAG ``cht_sync``, between the copy and the models."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import AssetAlias, task

from cht_sync.assets import table_asset
from cht_sync.callbacks.task_callbacks import LAST_TASK
from cht_sync.couchdb.sources import configured_sources
from cht_sync.dbt.deploy.active_version import expected_version
from cht_sync.dbt.run.good_end import stamps
from cht_sync.dbt.run.run_options import run_vars
from cht_sync.dbt.tables.model_results import ModelResults
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.errors import IncompleteError, SettingsError
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.sync.rename_source import rename_sources
from cht_sync.sync.sweep import sweep

if TYPE_CHECKING:
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

    from cht_sync.couchdb.sources import Source

log = logging.getLogger(__name__)
BAD_STATES = {"failed", "upstream_failed"}
# Nobody waits for it: the next run goes on where it stopped, and documents and models do not need it.
BESIDE = "forms"
TABLE = AssetAlias("cht_documents_table")


@task(task_id="sources", task_display_name="sources: check the settings", multiple_outputs=False)
def list_sources(params: dict[str, Any] | None = None) -> list[Source]:
    """Names every database to copy, and refuses settings that cannot be used before anything is written.

    :param params: of the run; a source in ``confirm_gone`` that is not configured any more is given up here, those of
        ``rename_source`` are renamed, and those in ``accept_older`` have to be configured.
    """
    settings = _checked()
    sources = configured_sources(settings)
    for source in sources:
        log.info("Source %s (connection %s).", source["source"], source["couchdb_conn_id"])
    configured = {source["source"] for source in sources}
    if unknown := sorted(set((params or {}).get("accept_older") or []) - configured):
        raise SettingsError(
            f"Param accept_older names {', '.join(map(repr, unknown))}, which is not configured: name sources as"
            f" <host>/<database>, of {', '.join(map(repr, sorted(configured)))}."
        )
    if names := (params or {}).get("rename_source"):
        rename_sources(settings, names, repeated=True)
    gone = set((params or {}).get("confirm_gone") or []) - configured
    if gone:
        _give_up(settings, sorted(gone))
    return sources


def _give_up(settings: Settings, gone: list[str]) -> None:
    """Marks all documents of sources that are no longer read as deleted."""
    with DocumentStore(postgres_connection(settings), settings.raw_table, "cht_sync confirm_gone") as store:
        store.prepare()
        if unknown := sorted(set(gone) - store.sources()):
            raise SettingsError(
                f"Param confirm_gone names {', '.join(map(repr, unknown))}, of which couchdb_progress has no row:"
                " name sources as <host>/<database>, as they stand there."
            )
        for source in gone:
            store.claim(source)
            store.restart(source, None)
            rows = sum(written.rows for written in sweep(store, source, lambda names: names, float("inf")))
            log.warning("%s: all its documents (%s) are marked as deleted.", source, f"{rows:,}")


@task(
    task_id="new_documents",
    task_display_name="new_documents: notify other DAGs",
    trigger_rule="all_done",
    outlets=[TABLE],
    multiple_outputs=False,
)
def tell_of_documents(ti: RuntimeTaskInstanceProtocol, outlet_events: Any) -> None:
    """Sends an event to the asset of the table of documents where a source brought some, whatever the others did."""
    _tell_of_documents(_checked(), ti, outlet_events)


@task.short_circuit(
    task_id="new_documents",
    task_display_name="new_documents: check for new documents",
    trigger_rule="all_done",
    outlets=[TABLE],
    ignore_downstream_trigger_rules=False,
)
def models_have_work(ti: RuntimeTaskInstanceProtocol, outlet_events: Any) -> dict[str, str] | None:
    """Notifies DAGs of new documents, and skips the models where none arrived since their last successful run.

    :return: the stamp of the newest document and the dbt deployment, noted once the models have completed a run.
    """
    settings = _checked()
    _tell_of_documents(settings, ti, outlet_events)
    state = _model_runs(settings).state()
    deployment = expected_version(settings)
    reason = state.reason_to_run(deployment)
    if state.newest is None:
        log.info("Nothing has been copied yet; the models are skipped.")
        return None
    if reason is None:
        log.info("No document arrived since the last successful run of the models; they are skipped.")
        return None
    log.info("The models run: %s.", reason)
    return {"newest": state.newest.isoformat(), "deployment": deployment, "began": datetime.now(UTC).isoformat()}


@task(
    task_id="result",
    task_display_name="result: run summary",
    trigger_rule="all_done",
    retries=0,
    multiple_outputs=False,
    **LAST_TASK,
)
def report_result(
    models_group: str, ti: RuntimeTaskInstanceProtocol, params: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Records which documents the models have processed, and fails the run where any task of it failed.

    Without this last task a run whose models succeed would look successful although a source failed. The task
    ``forms`` runs beside it and is not among them.

    :return: ``newest`` document and ``modelled_to`` as ISO 8601 UTC, and ``lag_seconds`` between them; empty where
        no models ran. After a failure the same is in the XCom ``lag``.
    :raises IncompleteError: if a task of the run failed; names them.
    """
    states = ti.get_task_states(dag_id=ti.dag_id, run_ids=[ti.run_id]).get(ti.run_id, {})
    failed = sorted(name for name, state in states.items() if state in BAD_STATES and name != BESIDE)
    models_failed = [name for name in failed if name.startswith(f"{models_group}.")]
    work = ti.xcom_pull(task_ids="new_documents")
    troubles, lag = [], {}
    if work:
        settings = Settings()
        # Of this run alone: of what it did not run, another one tells.
        ago = datetime.now(UTC) - datetime.fromisoformat(work["began"])
        troubles = _model_results(settings).troubles(ago.total_seconds())
        told = stamps(ti, models_group, states)
        if not all(told):
            log.info("dbt run failed: the next run retries the models that are left.")
        lag = _note(settings, params, work, told, not models_failed and not troubles and all(told))
        ti.xcom_push(key="lag", value=lag)
    if failed or troubles:
        said = " ".join(f"[{each}]" for each in troubles)
        raise IncompleteError(
            f"This run is incomplete: {', '.join(_readable(failed, ti)) or 'a model'} failed; what the other tasks did"
            f" is stored. The log of each says why; the next run goes on from the checkpoints. {said}".strip()
        )
    return lag


def _checked() -> Settings:
    settings = Settings()
    settings.check()
    return settings


def _tell_of_documents(settings: Settings, ti: Any, outlet_events: Any) -> None:
    copied = {each["source"]: each["rows"] for each in ti.xcom_pull(task_ids=["sync"]) if each and each["rows"]}
    if copied:
        log.info("%s rows changed.", f"{sum(copied.values()):,}")
        outlet_events[TABLE].add(table_asset(settings), extra=copied)


def _readable(tasks: list[str], ti: Any) -> list[str]:
    """Names of tasks, with the source in place of a mapped instance's number."""
    sources = ti.xcom_pull(task_ids="sources") or []
    numbered = {f"sync_{number}": f"sync ({source['source']})" for number, source in enumerate(sources)}
    return [numbered.get(task, task) for task in tasks]


def _note(
    settings: Settings, params: dict[str, Any] | None, work: dict[str, str], told: list[str], is_good: bool
) -> dict[str, Any]:
    """Notes a good run, and how far the models are behind after any."""
    runs = _model_runs(settings)
    reached = datetime.fromisoformat(min(told) if told and all(told) else work["newest"])
    if run_vars(settings, params).get("batch_size") and not told:
        # A batch may end before the newest document; noting where it ended makes the next run go on.
        reached = min(reached, runs.reached(dbt_connection(settings)) or reached)
    newest, modelled_to = runs.record(reached, work["deployment"]) if is_good else runs.look()
    if not newest or not modelled_to:
        return {}
    lag = max((newest - modelled_to).total_seconds(), 0.0)
    log.info("The models have seen the documents up to %s UTC; %s s behind the newest.", modelled_to, f"{lag:,.0f}")
    return {"newest": newest.isoformat(), "modelled_to": modelled_to.isoformat(), "lag_seconds": lag}


def _model_results(settings: Settings) -> ModelResults:
    return ModelResults(postgres_connection(settings), settings.raw_table, settings.dbt_schema)


def _model_runs(settings: Settings) -> ModelRuns:
    return ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema, settings.dbt_selector)
