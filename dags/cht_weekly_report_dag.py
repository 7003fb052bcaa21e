"""### Weekly report: a pattern for batch analytics

Counts the reports of each form in the week that was over last: reports, people who made them, patients. Counts below
five are left empty. It exists where `CHT_REPORT_DIR` is set.

* `write_report` writes `weekly_report_<week>.csv` into that folder, and `.parquet` where pyarrow is installed, and the
  same rows into the table `weekly_report` of the schema `CHT_REPORT_SCHEMA`. It skips a week that is written already.

It runs when the model `data_record` has changed, where the environment names the host of Postgres, and on Monday at
03:00 UTC in any case. **To write a week again**, with what came late, trigger it with `week`, such as `2026-W07`: it
takes the place of what was written.
"""

from datetime import UTC, datetime

from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable, Param, get_current_context, task
from airflow.sdk.exceptions import AirflowSkipException

from cht_sync.callbacks.task_callbacks import TOLD
from cht_sync.reports.weekly import Week, WeeklyReport
from cht_sync.settings.connections import report_connection
from cht_sync.settings.settings import Settings

settings = Settings().usable()
every_monday = CronTriggerTimetable("0 3 * * 1", timezone="UTC")
schedule = every_monday
if settings.data_record_uri:
    schedule = AssetOrTimeSchedule(assets=[Asset(settings.data_record_uri)], timetable=every_monday)


@task(task_display_name="write_report: of one week", doc_md="Writes the report of one week to files and to a table.")
def write_report() -> int:
    """Writes the report of the week that was over last, or of the one that a person names."""
    context, known = get_current_context(), Settings()
    asked = context["params"].get("week")
    week = Week.of(asked) if asked else Week.last(datetime.now(UTC))
    report = WeeklyReport(report_connection(known), known.dbt_schema, known.report_schema, known.report_dir)
    if not asked and report.is_written(week):
        raise AirflowSkipException(f"The report of {week} is written; trigger a run with week to write it again.")
    return report.write(week)


if settings.report_dir:
    with DAG(
        dag_id="cht_weekly_report",
        dag_display_name="cht_weekly_report: count last week's reports",
        description="Counts last week's reports of each form, to CSV, Parquet and a table.",
        doc_md=__doc__,
        schedule=schedule,
        catchup=False,
        max_active_runs=1,
        default_args={"owner": "cht-sync", "retries": 2, **TOLD},
        owner_links=settings.owner_links,
        tags=["cht", "report"],
        params={
            "week": Param(
                None,
                type=["null", "string"],
                title="Week",
                description="An ISO week such as 2026-W07, to be written again; default the last one that is over.",
            )
        },
    ) as dag:
        write_report()
