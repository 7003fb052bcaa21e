"""Who may see the status page: those who may read the DAG ``cht_sync``."""

from airflow.api_fastapi.core_api.security import requires_access_dag

DAG_ID = "cht_sync"
may_read = requires_access_dag("GET", param_dag_id=DAG_ID)
