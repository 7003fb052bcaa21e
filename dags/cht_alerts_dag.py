"""### Alerts: one message when something goes wrong, one when it is well again

Looks at the tables of the sync every minute. It tells of: a source that is not copied, models that are behind or fail,
the guard against shrinking, documents in quarantine, ids that belong to a source that is not configured any more, a
source in doubt, older revisions in CouchDB, a proof that is not equal, a deployment that is broken, other tasks that
fail, PostgreSQL that does not answer, a part of the state that cannot be read, and a first load that has ended.

It is there where `CHT_ALERT_EMAIL` or `CHT_ALERT_APPRISE_CONN_ID` names somebody to tell. A channel that does not
take a message is tried again in the next run. `couchdb_incident` holds who was told of what, and when.

**It says nothing where Airflow itself stands still**: let something else watch Airflow's `/api/v2/monitor/health`.
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
        description="Tells people once when something goes wrong, and once when it is well again.",
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
