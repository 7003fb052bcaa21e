"""### CHT Sync: deploy the dbt project

Looks for a new version of the dbt project that the settings name, and switches the models to it.

* `look` asks the git server, the folder or the tarball's server, without fetching; where nothing is new the run ends.
* `build` fetches it into a folder of its own, resolves packages, parses it and compiles every model against the
  database. A project that is broken ends here, with dbt's message; the version in use stays.
* `plan` lists the models that changed, with their rows, in its log and its XCom. With `dry_run` the run ends here.
* `switch` builds these models and their children in a staging schema, swaps them in by one transaction and records the
  version. Dashboards continue to work; `cht_sync` continues to run and waits only for the swap.

**To recover** there is nothing to clean up: what failed is tried again by the next run, and each task may be cleared.

**A model that was removed** leaves its table as it was. The log of `plan`, the XCom of `switch` and the status page
name it until it is dropped, by this DAG with `drop_removed`, or by you.

**To roll back**, trigger it with `roll_back_to`: the name of a version's folder or the start of its commit. A wrong
value lists what is kept. The version that was rolled back from is blocked from redeployment until its source has a
newer state, or by `force`.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param

from cht_sync.callbacks.task_callbacks import TOLD, failed, run_ended_early
from cht_sync.settings.settings import Settings
from cht_sync.tasks.alerts import deployment_failed
from cht_sync.tasks.deploy import build_version, look_for_version, plan_deployment, settled, switch_version

settings = Settings().usable()

with DAG(
    dag_id="cht_pipeline_deploy",
    dag_display_name="cht_pipeline_deploy: deploy the dbt project",
    description="Deploys the dbt project: fetches, validates, rebuilds what changed, and switches to it.",
    doc_md=__doc__,
    schedule=settings.pipeline_schedule,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=settings.pipeline_timeout),
    on_failure_callback=run_ended_early,
    default_args={
        "owner": "cht-sync",
        "retries": 1,
        "retry_delay": timedelta(seconds=10),
        **TOLD,
        "on_failure_callback": [failed, deployment_failed],
    },
    owner_links=settings.owner_links,
    tags=["cht", "dbt"],
    params={
        "dry_run": Param(
            False,
            type="boolean",
            title="Dry run",
            description="End with the list of models that would be rebuilt, and change nothing.",
        ),
        "run_unit_tests": Param(
            False,
            type="boolean",
            title="Run unit tests",
            description="The unit tests of the project have to pass. They need the tables of the models.",
        ),
        "roll_back_to": Param(
            None,
            type=["null", "string"],
            title="Roll back to",
            description="A version that is kept: its folder's name or the start of its commit. A wrong one lists them.",
        ),
        "full_refresh": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Full refresh",
            description="Models to rebuild although they did not change, one a line; 'all' for all.",
        ),
        "drop_removed": Param(
            [],
            type="array",
            items={"type": "string"},
            title="Drop removed",
            description="Tables and views to drop, as schema.name one a line, of models that the project has no longer;"
            " 'all' for all. A wrong one lists them.",
        ),
        "force": Param(
            False,
            type="boolean",
            title="Force",
            description="Build the version again although nothing changed, and deploy what was rolled back from.",
        ),
    },
) as dag:
    goal = look_for_version()
    built = build_version(goal)
    planned = plan_deployment(built)
    switch_version.override(on_success_callback=settled)(built, planned)
