"""The JSON behind the status page."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, TypeVar

from airflow.api_fastapi.common.db.common import SessionDep
from airflow.sdk import Connection
from fastapi import APIRouter, Depends, HTTPException, Query

from cht_sync.errors import SettingsError, StoreError
from cht_sync.monitoring.destination import Destination, opened
from cht_sync.monitoring.state import MOST
from cht_sync.monitoring.web import lists
from cht_sync.monitoring.web.access import may_read, may_see_documents, sees_documents
from cht_sync.monitoring.web.answers import Collisions, Entries, Refusal, RejectedDocuments, Status
from cht_sync.monitoring.web.runs import read_dag, with_link
from cht_sync.monitoring.web.shared import AtOnce, Shared
from cht_sync.monitoring.web.status import read_status, without_documents
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import Settings

T = TypeVar("T")
#: A status that takes longer than this to make is refused to those who wait for it.
PATIENCE_S = 20.0
_status: Shared[Status] = Shared(PATIENCE_S)
_lists = AtOnce(4, PATIENCE_S)
# What the description tells beside each answer.
REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Refusal, "description": "Nobody is signed in."},
    403: {"model": Refusal, "description": "The user may not read the DAG cht_sync, or ids of documents."},
    503: {"model": Refusal, "description": "The destination does not answer, or many ask at the same time."},
}
router = APIRouter(prefix="/api", dependencies=[Depends(may_read)], responses=REFUSALS)
# PostgreSQL holds no U+0000: nothing could be found by it.
TEXT = r"^[^\x00]*$"
SourceName = Annotated[str, Query(max_length=500, pattern=TEXT, description="Name of a source, <host>/<database>.")]
Text = Annotated[str, Query(max_length=200, pattern=TEXT)]
Offset = Annotated[int, Query(ge=0, le=10 * MOST, description="Entries to leave out.")]


@router.get("/status")
def status(session: SessionDep, sees: Annotated[bool, Depends(sees_documents)]) -> Status:
    """Is the copy complete and fresh? Everything that the page shows at a glance, a few seconds old at most."""
    seconds = Settings().usable().status_seconds
    said = _status.get(lambda: read_status(*read_dag(session), with_link=partial(with_link, session)), seconds)
    return said if sees else without_documents(said)


@router.get("/quarantine", dependencies=[Depends(may_see_documents)])
def quarantine(source: SourceName, offset: Offset = 0) -> Entries:
    """Fifty documents of a source in quarantine, the newest first, with the reason and without their content."""
    return _read(postgres_connection, lambda destination: lists.quarantine(destination, source, offset))


@router.get("/collisions", dependencies=[Depends(may_see_documents)])
def collisions(source: SourceName, offset: Offset = 0) -> Collisions:
    """Fifty documents of a source whose ``_id`` belongs to another source."""
    return _read(postgres_connection, lambda destination: lists.collisions(destination, source, offset))


@router.get("/rejects", dependencies=[Depends(may_see_documents)])
def rejects(
    field: Text,
    reason: Text,
    doc_type: Annotated[str | None, Query(max_length=200, pattern=TEXT)] = None,
    offset: Offset = 0,
) -> RejectedDocuments:
    """Fifty documents whose value of a field the starter models could not use, the newest first, without the value."""
    return _read(dbt_connection, lambda destination: lists.rejected(destination, field, reason, doc_type, offset))


def _read(role: Callable[[Settings], Connection], question: Callable[[Destination], T]) -> T:
    """:raises HTTPException: 503 with one sentence, where the destination does not answer."""
    settings = Settings()
    try:
        with _lists.place(), opened(role(settings), settings, "read a list of documents") as destination:
            return question(destination)
    except (SettingsError, StoreError) as error:
        raise HTTPException(503, str(error)) from None
