"""### CHT Sync: CouchDB to PostgreSQL to dbt models

Copies what changed in each CouchDB database to PostgreSQL, then runs the dbt models on it.

* `sources` checks the settings and names the databases. Where it fails, the message names setting and remedy.
* `sync` copies one database from its checkpoint until all changes are read. One that fails does not stop the others;
  the next run continues from its checkpoint.
* `new_documents` notifies DAGs that are scheduled on the table of new documents, and skips the models where nothing
  arrived since their last successful run.
* `models` holds a task for each dbt model; one dbt process runs them all. The log of a model holds dbt's message.
  With `CHT_MODELS=asset` it is not here but in the DAG `cht_models`, which starts when documents have arrived.
  What failed the last time runs first. The row-loss check protects readers: until that model is green again, models
  that would delete rows of it are skipped; the raw copy continues. A model that loses over 20 % of its rows
  (`CHT_MODELS_MAX_DROP`) from one run to the next turns red. Trigger a run with `lift_guard` (*Allow row loss*) to run
  all, and to accept the rows as they are.
* `forms` reads definitions of CHT forms that changed, and counts what new reports hold, for the tables of forms
  (`CHT_FORMS`). It takes a minute at most, beside the models, and `result` does not wait for it.
* `result` fails the run where any task failed, and names them.

**To recover** there is nothing to clean up: a page and its checkpoint are committed together. Fix what the log
names and wait for the next run, or trigger one.

**To copy a database again from the beginning**, delete its row from `couchdb_progress`; documents that did not
change are not touched.

**A database that was never copied** and holds many documents is loaded by ranges of ids first, several at once;
`couchdb_first_load` says how far each has come. A run ends after `CHT_SYNC_TIME_BUDGET`, so that the models follow,
and the next one continues. When all is stored, a full comparison verifies it, and the changes feed takes over.

**Documents in quarantine** (table `couchdb_quarantine`, with the reason) do not stop anything. A new revision
takes them out of it; after a change in Postgres or in the settings trigger a run with `retry_quarantine`.

**For one run** the params `threads`, `batch_size` and `dbt_vars` change how dbt runs.

**Older revisions** that CouchDB names for documents, or none where PostgreSQL holds one, are stored only after it is
certain that no node of a cluster lags (table `couchdb_older_revision`). After a backup was restored, trigger a
run with its source in `accept_older` to store them at once.

**A database that was dropped or emptied** fails its task and changes nothing. If that is what it should be, trigger a
run with its source in `confirm_gone` (*Confirm deleted*): its documents are marked as deleted, here and in the models.

**A server with a new name** fails its tasks before anything is written, since its documents belong to the old name.
Trigger a run with both names in `rename_source`, or run `python -m cht_sync rename-source OLD NEW`; or give its
connection the old name as `instance`.
"""

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param

from cht_sync.callbacks.task_callbacks import TOLD, run_ended_early
from cht_sync.dbt.render.models_group import models_group
from cht_sync.dbt.run.run_options import model_params
from cht_sync.operators.couchdb_to_postgres import DOCUMENTS, CouchDBToPostgresOperator
from cht_sync.settings.settings import Settings
from cht_sync.tasks.forms import keep_catalogue
from cht_sync.tasks.sync import list_sources, models_have_work, report_result, tell_of_documents

settings = Settings().usable()
schedule: Any = settings.schedule
if settings.sync_mode != "schedule":
    from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable

    from cht_sync.triggers.changes import ChangesTrigger

    changes = Asset(
        name="cht_sync_changes",
        uri="cht-sync://changes/",
        watchers=[AssetWatcher(name="cht_sync_changes", trigger=ChangesTrigger())],
    )
    schedule = [changes]
    if settings.sync_mode == "both" and settings.schedule:
        timetable = CronTriggerTimetable(settings.schedule, timezone="UTC")
        schedule = AssetOrTimeSchedule(timetable=timetable, assets=[changes])
inline = settings.models_place == "inline"

with DAG(
    dag_id="cht_sync",
    dag_display_name="cht_sync: copy documents and model them",
    description="Copies Community Health Toolkit documents from CouchDB to PostgreSQL and models them with dbt.",
    doc_md=__doc__,
    schedule=schedule,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=settings.run_timeout),
    on_failure_callback=run_ended_early,
    default_args={"owner": "cht-sync", "retries": 1, "retry_delay": timedelta(seconds=10), **TOLD},
    owner_links=settings.owner_links,
    tags=["cht", "sync"],
    params={
        "retry_quarantine": Param(
            False,
            type="boolean",
            title="Retry quarantine",
            description="Fetch every document in quarantine again and try to store it.",
        ),
        "confirm_gone": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Confirm deleted",
            description="Sources (<host>/<database>, one a line) whose database was dropped or emptied for good:"
            " their documents are marked as deleted, in the models too.",
        ),
        "accept_older": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Accept older revisions",
            description="Sources (<host>/<database>, one a line) whose CouchDB was restored from a backup: rows go"
            " back to the older revisions that it names, at once.",
        ),
        "rename_source": Param(
            {},
            type="object",
            additionalProperties={"type": "string"},
            title="Rename sources",
            description='Where a server has a new name: {"<old host>/<database>": "<new host>/<database>"}, or'
            ' {"<old host>": "<new host>"} for all its databases. The copy goes on where it was.',
        ),
        "first_load": Param(
            False,
            type="boolean",
            title="First load by ranges",
            description="Load databases without a checkpoint by ranges of ids, several at once, whatever their size.",
        ),
        **(model_params() if inline else {}),
    },
) as dag:
    sources = list_sources()
    sync = CouchDBToPostgresOperator.partial(
        task_id="sync",
        task_display_name="sync: copy what changed",
        map_index_template="{{ task.source }}",
        outlets=[DOCUMENTS],  # said here, because Airflow cannot see what a mapped operator says of itself
        doc_md=CouchDBToPostgresOperator.__doc__,
    ).expand_kwargs(sources)
    result = report_result("models")
    if inline:
        gate = models_have_work()
        sync >> gate >> models_group(settings) >> result
    else:
        sync >> tell_of_documents() >> result
    # Not from the gate: a short circuit skips whatever follows it directly.
    [sources, sync] >> result
    if settings.forms:
        # From the gate, for the same reason: where nothing arrived there is no report to count.
        (gate if inline else sync) >> keep_catalogue()
