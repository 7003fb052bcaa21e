"""### Alerts: one message when a problem begins, one when it is resolved

Checks the tables of the sync every minute. It alerts on: a source that is not copied, models that are behind or fail,
models blocked by the row-loss check, documents in quarantine, ids that belong to a source that is no longer configured,
a source that may be incomplete, older revisions in CouchDB, differences from CouchDB, a reconciliation that is overdue,
a deployment that failed, other tasks that fail, PostgreSQL that does not answer, a part of the state that cannot be
read, and a first load that is complete.

It exists where `CHT_ALERT_EMAIL` or `CHT_ALERT_APPRISE_CONN_ID` names recipients. A channel that does not
take a message is tried again in the next run. `couchdb_incident` holds which message went to which channel, and when.

**It sends nothing while Airflow itself is down**: monitor Airflow's `/api/v2/monitor/health` from elsewhere.
"""

from datetime import timedelta

from airflow.sdk import DAG

from cht_sync.callbacks.task_callbacks import TOLD
from cht_sync.settings.settings import Settings

settings = Settings().usable()

if settings.alerts:
    from cht_sync.tasks.alerts import alert

    with DAG(
        dag_id="cht_alerts",
        dag_display_name="cht_alerts: send alerts",
        description="Sends one message when a problem begins and one when it is resolved.",
        doc_md=__doc__,
        schedule=settings.alert_schedule,
        catchup=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=10),
        default_args={"owner": "cht-sync", **TOLD},
        owner_links=settings.owner_links,
        tags=["cht", "alerts"],
    ) as dag:
        alert()
