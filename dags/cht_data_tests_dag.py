"""### CHT data tests

Runs the data tests of the dbt project once a day, not with every run of the models, and publishes the project's
documentation in Airflow's UI.

* `run_tests` runs all tests by one dbt, while no models run. How each ended is stored in `couchdb_test_result`.
* `tests` holds a task for each model. It is red where one of the model's tests failed; its log names the test, with
  dbt's message and the number of rows. It holds no document.
* `result` counts, and fails the run where a test failed.
* `docs` publishes what *Browse, dbt docs* shows.

**A test that is known to fail** is listed and turns nothing red once it is acknowledged:
`python -m cht_sync acknowledge-test NAME --reason WHY`, with `--until`, `--at-most` or `--remove` if need be.

**Documents that arrive meanwhile** make tests fail that compare them with the models. Where some waited for the models,
what failed is tested again after their next run, for which the copy is paused for ten minutes at most.

**A test is red**: the SQL of the test, which *dbt docs* shows, finds its rows. Fix the documents or the model,
then trigger a run. Nothing else waits for it; the models continue to run.

**History**: `select at, test, status, failures from v1.couchdb_test_result where status <> 'pass' order by at`.
"""

from datetime import timedelta

from airflow.sdk import DAG

from cht_sync.callbacks.task_callbacks import TOLD, run_ended_early
from cht_sync.dbt.render.tests_group import draw_data_tests
from cht_sync.settings.settings import Settings

settings = Settings().usable()

with DAG(
    dag_id="cht_data_tests",
    dag_display_name="cht_data_tests: test the models",
    description="Tests the models of Community Health Toolkit documents and publishes their documentation.",
    doc_md=__doc__,
    schedule=settings.data_tests_schedule,
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(minutes=settings.models_timeout),
    on_failure_callback=run_ended_early,
    default_args={"owner": "cht-sync", **TOLD},
    owner_links=settings.owner_links,
    tags=["cht", "models"],
) as dag:
    draw_data_tests(settings)
