"""``/metrics`` for Prometheus."""

from __future__ import annotations

import hmac
from contextlib import suppress
from typing import Annotated

from airflow.api_fastapi.common.db.common import SessionDep
from fastapi import APIRouter, Header, HTTPException, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from cht_sync.monitoring.metrics.collect import DestinationCollector
from cht_sync.monitoring.state import Dag, Task
from cht_sync.monitoring.web.runs import read_dag
from cht_sync.settings.settings import Settings

router = APIRouter()


@router.get("/metrics", include_in_schema=False)
def metrics(session: SessionDep, authorization: Annotated[str, Header()] = "") -> Response:
    """What Prometheus reads, for who holds the token; with no token set there is no such page.

    :param session: of Airflow's database, which knows what is copied.
    :param authorization: ``Bearer`` and the token.
    """
    token = Settings().metrics_token
    if not token:
        raise HTTPException(404, "Set CHT_METRICS_TOKEN_FILE or CHT_METRICS_TOKEN for the API server.")
    kind, _, given = authorization.partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(given.encode("latin-1"), token.encode()):
        raise HTTPException(401, "Give the token as Authorization: Bearer.", {"WWW-Authenticate": "Bearer"})
    dag: Dag | None = None
    tasks: dict[str, Task] = {}
    with suppress(SQLAlchemyError):
        dag, tasks = read_dag(session)
    registry = CollectorRegistry(auto_describe=False)
    # Asked for at the scrape, not when it is registered.
    registry.register(DestinationCollector(dag, tasks))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
