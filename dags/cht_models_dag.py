"""### CHT Sync: dbt models, apart from the copy

With `CHT_MODELS=asset` the models run here and not in `cht_sync`, so that models which take hours and a copy that
takes seconds do not wait for each other. With `CHT_MODELS=inline`, the default, there is no such DAG.

A run starts when a run of `cht_sync` has stored documents, and by `CHT_MODELS_SCHEDULE` in any case, so that what
failed is tried again without a new document. What arrives during a run is modelled by one run after it.

* `new_documents` skips the models where nothing arrived since their last successful run.
* `models` holds a task for each dbt model; one dbt process runs them all. The log of a model holds dbt's message.
* `result` fails the run where any task failed, and names them.

**To recover** there is nothing to clean up: fix what the log of a model names and wait for the next run, or trigger
one. Documents continue to arrive meanwhile.

**For one run** the params `threads`, `batch_size` and `dbt_vars` change how dbt runs.
"""

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, CronTriggerTimetable

from cht_sync.callbacks.task_callbacks import TOLD, run_ended_early
from cht_sync.dbt.render.models_group import models_group
from cht_sync.dbt.run.run_options import model_params
from cht_sync.operators.couchdb_to_postgres import DOCUMENTS
from cht_sync.settings.settings import Settings
from cht_sync.tasks.sync import models_have_work, report_result

settings = Settings().usable()
schedule = [DOCUMENTS]
if settings.models_schedule:
    schedule = AssetOrTimeSchedule(
        assets=DOCUMENTS, timetable=CronTriggerTimetable(settings.models_schedule, timezone="UTC")
    )

if settings.models_place == "asset":
    with DAG(
        dag_id="cht_models",
        dag_display_name="cht_models: model what arrived",
        description="Models Community Health Toolkit documents with dbt when they have arrived in PostgreSQL.",
        doc_md=__doc__,
        # The alias, not the asset of the table: that is named after the server, which a connection may hold.
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=settings.models_timeout),
        on_failure_callback=run_ended_early,
        default_args={"owner": "cht-sync", "retries": 1, "retry_delay": timedelta(seconds=10), **TOLD},
        owner_links=settings.owner_links,
        tags=["cht", "models"],
        params=model_params(),
    ) as dag:
        models_have_work() >> models_group(settings) >> report_result("models")
