"""What is known of the copy, as values: what was read of the destination, and of Airflow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from cht_sync.monitoring.parts import PartName, Unknown

# Whether nobody copies the source of that name, last looked at at that time, any more.
IsGone = Callable[[str, datetime | None], bool]
# Where counting stops, so that no answer depends on how much there is.
MOST = 1_000
State = Literal["ok", "loading", "behind", "warning", "retrying", "failing", "paused", "empty", "unknown"]
ProofVerdict = Literal["equal", "repaired", "differs", "in doubt", "skipped", "under way"]
SYNC = ("cht_sync", "sync")


class ModelWord(StrEnum):
    """How a model ended."""

    GOOD = "Good"
    FAILING = "Failing"
    SHRUNK = "Shrunk: guard closed"
    HELD = "Held back: guard closed"
    WAITING = "Waits for a failing model"


class GoneOwner(BaseModel):
    """Documents whose rows belong to a source that nobody copies any more."""

    source: str = Field(description="Whose documents they are.")
    owner: str = Field(description="The source that has the rows.")
    documents: int = Field(description=f"How many, {MOST + 1} for more than {MOST}.")
    since: datetime | None = None

    @property
    def is_namesake(self) -> bool:
        """Whether both are databases of one name, as after a server got another one."""
        return self.source.rpartition("/")[2] == self.owner.rpartition("/")[2]


class Doubt(BaseModel):
    """Why the copy of a source may not be complete, until a proof of all its documents has taken that away."""

    source: str
    text: str = Field(description="A sentence that names the source.")
    since: datetime | None = None


class OlderRevisions(BaseModel):
    """Documents of which CouchDB shows an older revision than PostgreSQL holds, or none."""

    source: str
    documents: int
    since: datetime | None = None


class RemovedModel(BaseModel):
    """A table or view of a model that the project has no longer."""

    relation: str
    since: datetime | None = None


class TaskError(BaseModel):
    """Why a task fails now, as it said itself."""

    dag_id: str
    task_id: str
    subject: str = Field(default="", description="A source or a model; empty where there is one.")
    message: str
    tries: int
    first_at: datetime
    last_at: datetime
    link: str = Field(default="", description="Of the task in Airflow's UI, relative to its root.")

    @property
    def is_sync(self) -> bool:
        """Whether it is the task that copies a source."""
        return (self.dag_id, self.task_id) == SYNC

    @property
    def name(self) -> str:
        """The task for people."""
        return f"{self.task_id} ({self.subject})" if self.subject else self.task_id


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
    """What the newest comparison with CouchDB that has ended has found; the first one, while it is under way."""

    run: str = Field(default="", description="Airflow's id of the run.")
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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far one source was read.

    :param seq: of CouchDB, as it stands in the table.
    :param drained_at: when the feed was last read to its end, as the copy noted it.
    """

    seq: str | None
    drained_at: datetime | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Open entries of one source.

    :param number: how many.
    :param since: when the first of them came.
    :param newest: when the newest of them came first.
    """

    number: int
    since: datetime
    newest: datetime


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """The first load of one source by ranges, all parts together.

    :param documents: stored so far.
    :param expected: about how many there are; None where CouchDB did not say.
    :param began: when it began.
    :param finished: whether every part has ended.
    :param proven_at: when the last part was proven; None while one is not.
    """

    documents: int
    expected: float | None
    began: datetime
    finished: bool
    proven_at: datetime | None


@dataclass(frozen=True, slots=True)
class ModelsRun:
    """How far one selection of models has come, those of other schemas too.

    :param models_schema: where they are.
    :param models: a dbt selection; empty for all.
    :param succeeded_at: when they last ran to a good end.
    :param lag: seconds between the newest document and the newest that they have seen.
    """

    models_schema: str
    models: str
    succeeded_at: datetime | None
    lag: float | None


@dataclass
class Facts:
    """Everything that is judged, and who knows it.

    :param destination: whether it could be read.
    :param prepared: whether the tables of the sync are there.
    :param known: whether it could be read how far the sources are.
    :param sources: those that were ever read or are to be, by their names.
    :param unknown: parts that could not be read.
    :param incidents: how many last, by kind.
    :param dag: what Airflow knows of the DAG ``cht_sync``; None for who cannot ask its database, as a task.
    """

    destination: Destination = field(default_factory=lambda: Destination(reachable=True))
    prepared: bool = True
    known: bool = False
    sources: list[Source] = field(default_factory=list)
    progress: dict[str, Progress] = field(default_factory=dict)
    quarantine: dict[str, Quarantined] = field(default_factory=dict)
    first_loads: dict[str, FirstLoad] = field(default_factory=dict)
    groups: list[Group] = field(default_factory=list)
    runs: list[ModelsRun] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)
    removed: list[RemovedModel] = field(default_factory=list)
    task_errors: list[TaskError] = field(default_factory=list)
    incidents: dict[str, int] = field(default_factory=dict)
    unknown: list[Unknown] = field(default_factory=list)
    dag: Dag | None = None

    def knows(self, part: PartName) -> bool:
        """Whether a part that was asked for is known.

        :param part: its name.
        """
        return all(each.part != part for each in self.unknown)
