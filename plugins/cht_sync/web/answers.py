"""What the JSON of the status page holds."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from cht_sync.health.findings import MOST, Doubt, GoneOwner, OlderRevisions, TaskError
from cht_sync.health.parts import Unknown

__all__ = ["MOST"]
State = Literal["ok", "loading", "behind", "warning", "retrying", "failing", "paused", "empty", "unknown"]
# What a remark is about: the first line of the page goes by it, never by the text.
Kind = Literal[
    "start", "destination", "part", "dag", "paused", "scheduler", "triggerer", "due", "settings", "run", "source",
    "retrying", "behind", "unread", "loading", "gone_owner", "doubt", "older_revision", "proof", "quarantine",
    "shrunk", "held", "models", "models_behind", "models_loading", "removed", "task",
]  # fmt: skip
ProofVerdict = Literal["equal", "repaired", "differs", "in doubt", "skipped", "under way"]


# How a model ended, as the page says it.
ModelWord = Literal[
    "Good", "Failing", "Shrunk: guard closed", "Held back: guard closed", "Waits for a failing model"
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
    message: str = Field(default="", description="What the task that fails said itself, with the remedy.")
    since: datetime | None = None
    todo: str = Field(default="", description="What to do about it; empty where there is nothing to do.")
    link: str = Field(default="", description="Page of Airflow's UI, relative to its root.")
    retrying_since: datetime | None = Field(default=None, description="When the first of the tries failed.")
    tries: int = Field(default=0, description="Tries that failed since then; 0 where that is not known.")
    essential: bool = Field(default=True, description="Whether the first line of the page hangs on it.")
    lists: list[List] = Field(default=[], description="Lists of the documents that are meant.")


class Verdict(BaseModel):
    """Is the copy complete and fresh?"""

    state: State
    headline: str
    since: datetime | None = None
    remarks: list[Remark] = []


class Destination(BaseModel):
    """The database that documents are copied to."""

    reachable: bool
    message: str = ""
    refused: bool = Field(default=False, description="Whether it answers and refuses, so that waiting does not help.")


class Task(BaseModel):
    """One task instance of Airflow."""

    name: str
    state: str | None
    link: str
    retrying_since: datetime | None = Field(
        default=None, description="When the first try of the newest run failed, while another one is still to come."
    )


class Run(BaseModel):
    """A run of a DAG."""

    run_id: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    link: str
    failed: list[Task] = Field(default=[], description="Up to ten tasks that failed.")


class Dag(BaseModel):
    """The DAG ``cht_sync``, as Airflow knows it."""

    exists: bool = False
    paused: bool = False
    next_run_at: datetime | None = None
    run: Run | None = Field(default=None, description="The newest run, which may be under way.")
    ended: Run | None = Field(default=None, description="The newest run that has ended.")
    models_ended: Run | None = Field(
        default=None, description="The newest run of cht_models that has ended, where the models run there."
    )
    models_paused: bool = Field(default=False, description="Whether cht_models is paused, where the models run there.")
    succeeded_lately: bool = Field(default=False, description="Whether one of the newest runs went well.")
    scheduler_seen_at: datetime | None = Field(default=None, description="Newest sign of life of a scheduler.")
    triggerer_seen_at: datetime | None = Field(default=None, description="Newest sign of life of a triggerer.")
    needs_triggerer: bool = Field(default=False, description="Whether triggers wait, as in event mode.")

    @property
    def last(self) -> Run | None:
        """The newest run that has ended: one that has just begun tells nothing yet."""
        return self.ended or (self.run if self.run and self.run.state in {"success", "failed"} else None)


class Load(BaseModel):
    """A copy from the beginning that has not reached the end of the feed yet."""

    done: int
    total: int | None = Field(default=None, description="Null where CouchDB does not say how much is pending.")
    seconds_left: float | None = None
    about: bool = Field(default=False, description="Whether done is an estimate.")


class Proof(BaseModel):
    """What the newest comparison with CouchDB has found."""

    verdict: ProofVerdict
    at: datetime
    compared: int
    differences: int
    repaired: int
    reason: str | None = None


class Source(BaseModel):
    """One database of CouchDB."""

    source: str
    copied: bool = Field(default=True, description="False where the newest runs do not copy it any more.")
    state: State = "unknown"
    word: str = ""
    looked_at: datetime | None = Field(default=None, description="When its feed was last read.")
    complete_at: datetime | None = Field(default=None, description="When its feed was last read to the end.")
    lag_seconds: float | None = None
    pending: int | None = Field(
        default=None, description="Changes that wait in CouchDB, as it said when it was last read."
    )
    pending_known: bool = Field(
        default=True, description="False where that is too long ago, or the newest look failed."
    )
    documents_about: int | None = Field(default=None, description="Rows stored, as PostgreSQL estimates.")
    rate: float = Field(
        default=0.0, description="Documents a second of the newest run, if it read any in the last 5 minutes."
    )
    load: Load | None = None
    hourly: list[int] = Field(default=[], description="Changes read in each of the last 24 hours, the newest last.")
    quarantined: int = Field(default=0, description=f"Open entries, {MOST + 1} for more than {MOST}.")
    colliding: int = Field(
        default=0, description=f"Documents beside another source's, {MOST + 1} for more than {MOST}."
    )
    proof: Proof | None = None
    task: Task | None = None
    error: TaskError | None = Field(default=None, description="Why it is not copied, as its task said.")
    gone_owners: list[GoneOwner] = []
    doubt: Doubt | None = None
    older_revisions: OlderRevisions | None = None


class Model(BaseModel):
    """One dbt model."""

    name: str
    state: State
    word: ModelWord
    message: str = ""
    ended_at: datetime
    seconds: float | None = None
    recent_seconds: list[float] = Field(default=[], description="Of the last runs, the newest last.")
    rows: int | None = None
    failing_since: datetime | None = None
    lag_seconds: float | None = None
    documents_at_fault: list[str] = Field(
        default=[], description="Ids of documents, never their content; none for who may not see them."
    )


class Group(BaseModel):
    """The models of one selection: how far they have come."""

    models: str = Field(default="", description="A dbt selection; empty for all.")
    succeeded_at: datetime | None = Field(default=None, description="Null where they never ran to a good end.")
    modelled_to: datetime | None = None
    lag_seconds: float | None = None
    waiting: int | None = Field(
        default=None, description=f"Documents not modelled yet, {MOST + 1} for more than {MOST}."
    )
    waiting_since: datetime | None = Field(default=None, description="When the oldest of them was stored.")


class Reject(BaseModel):
    """Values of one field that the starter models could not use."""

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
    """One document with a value that the starter models could not use, without that value."""

    id: str
    saved_at: datetime | None


class Entries(BaseModel):
    """A page of documents in quarantine."""

    items: list[Entry]
    more: bool


class Collisions(BaseModel):
    """A page of colliding documents."""

    items: list[Collision]
    more: bool


class RejectedDocuments(BaseModel):
    """A page of documents with rejected values."""

    items: list[RejectedDocument]
    more: bool
