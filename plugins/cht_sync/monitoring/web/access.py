"""Who may see what of the status page."""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_dag
from fastapi import Depends, HTTPException

DAG_ID = "cht_sync"
DOCUMENTS = "CHT Sync documents"
may_read = requires_access_dag("GET", param_dag_id=DAG_ID)


def sees_documents(user: GetUserDep) -> bool:
    """Whether a user may see ids of documents, which can name a person: a permission of its own.

    It is the right to read the custom view ``CHT Sync documents``. Airflow's simple auth manager knows no such rights:
    there its roles ``op`` and ``admin`` may.
    Source: https://airflow.apache.org/docs/apache-airflow/stable/core-concepts/auth-manager/index.html
    """
    manager = get_auth_manager()
    if isinstance(manager, SimpleAuthManager):
        return manager.is_authorized_variable(method="GET", user=user)  # type: ignore[arg-type]
    return manager.is_authorized_custom_view(method="GET", resource_name=DOCUMENTS, user=user)


def may_see_documents(sees: Annotated[bool, Depends(sees_documents)]) -> None:
    """Refuses who may not see ids of documents.

    :raises HTTPException: 403 with one sentence.
    """
    if not sees:
        raise HTTPException(
            403,
            f"Ids of documents are for those who may read the view {DOCUMENTS!r}: ask who gives the permissions in"
            " Airflow.",
        )
