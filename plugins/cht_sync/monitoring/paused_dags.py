"""Which DAGs of this package are paused, and what does not happen because of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

MEANS = {
    "cht_sync": "nothing is copied, and without CHT_MODELS=asset no models run",
    "cht_pipeline_deploy": "no new version of the dbt project is deployed",
    "cht_reconcile": "PostgreSQL is not compared with CouchDB every night",
    "cht_data_tests": "no data test runs, and no documentation of the models is published",
    "cht_models": "no models run",
    "cht_snapshots": "no snapshot keeps what changes in the models",
    "cht_alerts": "no alert is sent",
    "cht_weekly_report": "no report is written",
}


def read_paused(session: Session) -> dict[str, bool]:
    """Whether each DAG of the package is paused, as Airflow's database holds it.

    A DAG whose file is gone, or that the settings no longer bring, keeps its row and is left out.
    """
    from airflow.models.dag import DagModel
    from sqlalchemy import select

    rows = session.execute(select(DagModel.dag_id, DagModel.is_paused).where(~DagModel.is_stale))
    return {dag: is_paused for dag, is_paused in rows if dag in MEANS}
