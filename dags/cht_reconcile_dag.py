"""### Reconciliation: is the copy complete?

Compares what is in CouchDB with what is in PostgreSQL, and repairs what differs. It runs at the same time as
`cht_sync`, which need not be paused.

* `plan` says what is to be compared: the documents that the day's runs of `cht_sync` have stored, by the sync run
  history `couchdb_window`; on one day of the week (`CHT_RECONCILE_FULL`), or by the param `full_proof`, all, in ranges.
* `compare` compares them part by part: id, current revision and deleted flag. What differs is read again after a
  pause, and counts only if the changes feed does not bring it anyway. It is stored again like any document of the feed,
  with a new `saved_timestamp`, so that the models reprocess it.
* `beside` looks, in a full comparison, for documents that PostgreSQL holds and CouchDB does not.
* `verify` says on one line for each source: equal, repaired, differs or in doubt (inconclusive: CouchDB did not answer
  clearly). It fails unless all are equal or repaired.

**To compare March again**: a backfill, in the UI or by
`airflow backfill create --dag-id cht_reconcile --from-date 2026-03-01 --to-date 2026-03-31`, as often as you like. Add
`--dag-run-conf '{"reprocess": true}'` and the models reprocess these documents.

**A part that is skipped** says why: the sync run history does not reach back so far.

**To recover** there is nothing to clean up: run a task again and it does its part again. Results are in the table
`couchdb_reconciliation`.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronDataIntervalTimetable, Param

from cht_sync.callbacks.task_callbacks import TOLD
from cht_sync.operators.reconcile import ReconcileOperator
from cht_sync.settings.settings import Settings
from cht_sync.tasks.reconcile import plan_beside, plan_parts, report_verdicts

settings = Settings().usable()
schedule = settings.reconcile_schedule


def switch(title: str, description: str) -> Param:
    """A param that is off by default."""
    return Param(False, type="boolean", title=title, description=description)


with DAG(
    dag_id="cht_reconcile",
    dag_display_name="cht_reconcile: compare with CouchDB and repair",
    description="Compares PostgreSQL with CouchDB, day by day and once a week as a whole, and repairs what differs.",
    doc_md=__doc__,
    schedule=CronDataIntervalTimetable(schedule, timezone="UTC") if schedule else None,
    catchup=False,
    max_active_runs=1,
    default_args={"owner": "cht-sync", "retries": 2, "retry_delay": timedelta(minutes=1), **TOLD},
    owner_links=settings.owner_links,
    tags=["cht", "reconciliation"],
    params={
        "dry_run": switch("Dry run", "Only report; change nothing."),
        "full_proof": switch("Full comparison", "Compare all documents, not only those stored in the interval."),
        "compare_content": switch(
            "Compare content", "Compare bodies too, which finds rows that were altered by hand; reads all of them."
        ),
        "reprocess": switch(
            "Reprocess", "Give all documents of the interval a new saved_timestamp, so that the models reprocess them."
        ),
        "by_reported_date": switch(
            "By reported date",
            "Where the sync run history does not reach back, take the rows whose reported_date lies in the interval;"
            " documents that PostgreSQL lacks are not found then.",
        ),
    },
) as dag:
    parts = plan_parts()
    compare, beside = (
        ReconcileOperator.partial(
            task_id=task_id,
            task_display_name=name,
            map_index_template="{{ task.source }} {{ task.part }}",
            pool=settings.reconcile_pool,
            # Of all runs together: neither a backfill's runs nor the scheduled one know of each other.
            max_active_tis_per_dag=settings.reconcile_parallel,
            doc_md=ReconcileOperator.__doc__,
            **options,
        ).expand_kwargs(arguments)
        for task_id, name, arguments, options in (
            ("compare", "compare: both sides", parts, {}),
            ("beside", "beside: rows missing in CouchDB", plan_beside(parts), {"trigger_rule": "all_done"}),
        )
    )
    verify = report_verdicts()

    compare >> beside >> verify
    [parts, compare] >> verify
