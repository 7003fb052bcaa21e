"""What is known of the copy, as values: what was read of the destination."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from cht_sync.monitoring.airflow_state import Dag, Task, TaskError
from cht_sync.monitoring.parts import PartName, Unknown

# Whether the source of that name, last read at that time, is no longer copied.
IsGone = Callable[[str, datetime | None], bool]
# Where counting stops, so that no answer depends on how much there is.
MOST = 1_000
State = Literal["ok", "loading", "behind", "warning", "retrying", "failing", "paused", "empty", "unknown"]
ProofVerdict = Literal["equal", "repaired", "differs", "in doubt", "skipped", "under way"]


class ModelWord(StrEnum):
    """How a model ended."""

    GOOD = "OK"
    FAILING = "Failing"
    SHRUNK = "Blocked: lost too many rows"
    HELD = "Skipped: would delete downstream rows"
    WAITING = "Skipped: upstream model failed"


class GoneOwner(BaseModel):
    """Documents whose rows belong to a source that is no longer copied."""

    source: str = Field(description="Whose documents they are.")
    owner: str = Field(description="The source that has the rows.")
    documents: int = Field(description=f"How many, {MOST + 1} for more than {MOST}.")
    since: datetime | None = None

    @property
    def is_namesake(self) -> bool:
        """Whether both are databases of one name, as after a server got another one."""
        return self.source.rpartition("/")[2] == self.owner.rpartition("/")[2]


class Doubt(BaseModel):
    """Why the copy of a source may not be complete, until all its documents were compared."""

    source: str
    text: str = Field(description="A sentence that names the source.")
    since: datetime | None = None


class OlderRevisions(BaseModel):
    """Documents of which CouchDB shows an older revision than PostgreSQL holds, or none."""

    source: str
    documents: int
    since: datetime | None = None


class RemovedModel(BaseModel):
    """A table or view of a model that the project no longer has."""

    relation: str
    since: datetime | None = None


class FormError(BaseModel):
    """A definition of a form that cannot be read."""

    source: str
    code: str = Field(description="Of the form; empty for those of the app settings.")
    text: str = Field(description="Why, as the end of a sentence; never anything of the definition.")
    since: datetime | None = None


class FormNotices(BaseModel):
    """What one deployment has changed in the tables of forms."""

    made_at: datetime
    notices: list[str] = Field(description="A sentence for each form, without its full stop.")


class Destination(BaseModel):
    """The database that documents are copied to."""

    reachable: bool
    message: str = ""
    refused: bool = Field(default=False, description="Whether it answers and refuses, so that waiting does not help.")


class Load(BaseModel):
    """A first load that has not read all changes yet."""

    done: int
    total: int | None = Field(default=None, description="Null where CouchDB does not say how much is pending.")
    seconds_left: float | None = None
    about: bool = Field(default=False, description="Whether done is an estimate.")


class Proof(BaseModel):
    """Result of the newest reconciliation that has ended; of the first one also while it runs."""

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
    copied: bool = Field(default=True, description="False where the newest runs no longer copy it.")
    state: State = "unknown"
    word: str = ""
    looked_at: datetime | None = Field(default=None, description="When its feed was last read.")
    complete_at: datetime | None = Field(default=None, description="When all its changes were last read.")
    lag_seconds: float | None = None
    pending: int | None = Field(
        default=None, description="Changes that wait in CouchDB, as it said when it was last read."
    )
    pending_known: bool = Field(
        default=True, description="False where that is too long ago, or the newest attempt failed."
    )
    documents_about: int | None = Field(default=None, description="Rows stored, as PostgreSQL estimates.")
    rate: float = Field(
        default=0.0, description="Documents a second of the newest run, if it read any in the last 5 minutes."
    )
    load: Load | None = None
    hourly: list[int] = Field(default=[], description="Changes read in each of the last 24 hours, the newest last.")
    quarantined: int = Field(default=0, description=f"Open entries, {MOST + 1} for more than {MOST}.")
    colliding: int = Field(
        default=0, description=f"Documents whose _id belongs to another source, {MOST + 1} for more than {MOST}."
    )
    proof: Proof | None = None
    reconciled_at: datetime | None = Field(
        default=None, description="When it was last verified as equal to CouchDB, by a reconciliation or a first load."
    )
    first_read_at: datetime | None = Field(
        default=None, description="Of a source without any reconciliation: when a run first read it."
    )
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
    succeeded_at: datetime | None = Field(default=None, description="Null where they never completed a run.")
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
    :param drained_at: when all changes were last read, as the copy noted it.
    """

    seq: str | None
    drained_at: datetime | None


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Open entries of one source.

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
    :param proven_at: when the last part was verified; None while one is not.
    """

    documents: int
    expected: float | None
    began: datetime
    finished: bool
    proven_at: datetime | None


@dataclass(frozen=True, slots=True)
class ModelsRun:
    """How far one selection of models has come, those of other schemas too.

    :param models: a dbt selection; empty for all.
    :param succeeded_at: when they last completed a run.
    :param lag: seconds between the newest document and the newest that they have seen.
    """

    models_schema: str
    models: str
    succeeded_at: datetime | None
    lag: float | None


@dataclass
class Facts:
    """Everything that is judged, and who knows it.

    :param prepared: whether the tables of the sync are there.
    :param known: whether it could be read how far the sources are.
    :param sources: those that were ever read or are to be, by their names.
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
    form_errors: list[FormError] = field(default_factory=list)
    form_notices: list[FormNotices] = field(default_factory=list)
    task_errors: list[TaskError] = field(default_factory=list)
    incidents: dict[str, int] = field(default_factory=dict)
    unknown: list[Unknown] = field(default_factory=list)
    dag: Dag | None = None

    def knows(self, part: PartName) -> bool:
        """Whether a part that was asked for is known."""
        return all(each.part != part for each in self.unknown)
