"""### CHT snapshots

Takes the snapshots of the dbt project, which keep how rows were before they changed. Where the project has none, and
`CHT_SNAPSHOTS_SCHEDULE` is not set, there is no such DAG.

* `snapshots` runs `dbt snapshot` once for all of them, while no models run. It is skipped until the models have
  completed a run. A snapshot that a model reads and that was never taken comes with the first run of that model.

**To recover** fix what the log names and trigger a run, or wait for the next. What changed twice in between was seen
once: no later run can tell.
"""

from datetime import timedelta

from airflow.sdk import DAG

from cht_sync.callbacks.task_callbacks import TOLD
from cht_sync.dbt.render.snapshots_group import draw_snapshots, has_snapshots
from cht_sync.settings.settings import Settings

settings = Settings().usable()

if settings.text("CHT_SNAPSHOTS_SCHEDULE") or has_snapshots(settings):
    with DAG(
        dag_id="cht_snapshots",
        dag_display_name="cht_snapshots: take the snapshots of the dbt project",
        description="Takes the snapshots of the dbt project, where it has any.",
        doc_md=__doc__,
        schedule=settings.snapshots_schedule,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=settings.models_timeout),
        default_args={"owner": "cht-sync", **TOLD},
        owner_links=settings.owner_links,
        tags=["cht", "models"],
    ) as dag:
        draw_snapshots(settings)
