"""What the JSON of the status page holds."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from cht_sync.monitoring.airflow_state import Dag, TaskError
from cht_sync.monitoring.parts import Unknown
from cht_sync.monitoring.state import Destination, Group, Model, Source, State

# What a remark is about: programs go by it, never by the text.
Kind = Literal[
    "start", "destination", "part", "dag", "paused", "paused_dag", "scheduler", "triggerer", "due", "settings", "run",
    "source", "retrying", "behind", "unread", "loading", "gone_owner", "doubt", "older_revision", "proof",
    "reconciliation_overdue", "quarantine", "shrunk", "held", "models", "models_behind", "models_loading", "removed",
    "form", "form_notice", "task",
]  # fmt: skip


class List(BaseModel):
    """A list of documents behind a number."""

    name: Literal["quarantine", "collisions"]
    source: str


class Remark(BaseModel):
    """One thing to know."""

    state: State
    kind: Kind
    text: str
    message: str = Field(default="", description="Error of the task that fails, with the remedy.")
    since: datetime | None = None
    todo: str = Field(default="", description="What to do about it; empty where there is nothing to do.")
    link: str = Field(default="", description="Page of Airflow's UI, relative to its root.")
    retrying_since: datetime | None = Field(default=None, description="When the first of the tries failed.")
    tries: int = Field(default=0, description="Tries that failed since then; 0 where that is not known.")
    essential: bool = Field(default=True, description="Whether the first line of the page depends on it.")
    lists: list[List] = Field(default=[], description="Lists of the documents that are meant.")


class Verdict(BaseModel):
    """Is the copy complete and fresh?"""

    state: State
    headline: str
    since: datetime | None = None
    remarks: list[Remark] = []


class Reject(BaseModel):
    """Rejected values of one field, in the starter models."""

    doc_type: str | None
    field: str
    reason: str
    documents: int


class Status(BaseModel):
    """All that the page shows at a glance."""

    at: datetime
    timezone: str = Field(default="UTC", description="Zone of Airflow, core.default_timezone.")
    verdict: Verdict
    destination: Destination
    unknown: list[Unknown] = Field(default=[], description="Parts of the destination that could not be read.")
    dag: Dag
    sources: list[Source] = []
    groups: list[Group] = []
    models: list[Model] = []
    rejects: list[Reject] = []
    rejects_known: bool = Field(default=True, description="False where the models have no table of rejects.")
    task_errors: list[TaskError] = Field(default=[], description="Tasks that fail now, with the reason.")
    documents_visible: bool = Field(default=True, description="Whether the reader may see ids of documents.")


class Refusal(BaseModel):
    """What is said in place of an answer."""

    detail: str


class Entry(BaseModel):
    """One document in quarantine, without its content."""

    id: str
    rev: str | None
    sqlstate: str | None
    reason: str
    first_seen: datetime
    last_seen: datetime
    attempts: int
    bytes: int


class Collision(BaseModel):
    """One document whose ``_id`` belongs to another source."""

    id: str
    deleted: bool
    owner: str | None
    since: datetime


class RejectedDocument(BaseModel):
    """One document with a rejected value, without that value."""

    id: str
    saved_at: datetime | None


class Entries(BaseModel):
    """A page of documents in quarantine."""

    items: list[Entry]
    more: bool


class Collisions(BaseModel):
    """A page of documents with duplicate IDs."""

    items: list[Collision]
    more: bool


class RejectedDocuments(BaseModel):
    """A page of documents with rejected values."""

    items: list[RejectedDocument]
    more: bool
