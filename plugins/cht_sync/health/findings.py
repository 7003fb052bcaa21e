"""Findings of the copy that page, alerts and metrics tell alike."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

from cht_sync.health.words import counted
from cht_sync.redaction import of_ours

if TYPE_CHECKING:
    from cht_sync.web.destination import Destination

# Whether nobody copies the source of that name, last looked at at that time, any more.
IsGone = Callable[[str, datetime | None], bool]
# Where counting stops, so that no answer depends on how much there is.
MOST = 1_000
# What no task has met for so long is of a task that nobody runs any more.
ERRORS_KEPT = timedelta(days=8)
SYNC = ("cht_sync", "sync")

# By key, which is a hash: where there are very many, a fair sample of them. Lateral, so that rows are looked up by
# their key, and the table of documents is never read as a whole. A source that somebody reads is not gone, though
# neither the settings nor the DAG cht_sync may name it: an operator in a DAG of one's own copies it.
_BESIDE = """
select wanted.source, wanted.updated_at as looked_at, beside.owner, p.updated_at as owner_looked_at,
    count(*)::int as documents, min(beside.saved_timestamp) at time zone 'utc' as since
from {schema}.couchdb_progress wanted
cross join lateral (
    select owned.source as owner, c.saved_timestamp from (
        select _id, saved_timestamp from {schema}.couchdb_collision c
        where c.source = wanted.source order by c.key limit %(most)s
    ) c cross join lateral (select d.source from {schema}.{table} d where d._id = c._id offset 0) owned
) beside
left join {schema}.couchdb_progress p on p.source = beside.owner
where beside.owner <> wanted.source and coalesce(p.updated_at < now() - interval '1 day', true)
group by 1, 2, 3, 4 order by 1, 3
"""
_DOUBTS = "select source, doubt as text, doubted_at as since from {schema}.couchdb_progress where doubt is not null"
_OLDER = """
select o.source, least(count(*), %(most)s)::int as documents, min(o.first_seen) as since
from {schema}.couchdb_older_revision o where o.settled_at is null group by o.source order by o.source
"""
_TASK_ERRORS = """
select dag_id, task_id, subject, message, tries, first_at, last_at from {schema}.couchdb_task_error
where last_at > %(since)s order by first_at, dag_id, task_id, subject
"""


class GoneOwner(BaseModel):
    """Documents whose rows belong to a source that nobody copies any more."""

    source: str = Field(description="Whose documents they are.")
    owner: str = Field(description="The source that has the rows.")
    documents: int = Field(description=f"How many, {MOST + 1} for more than {MOST}.")
    since: datetime | None = None

    @property
    def text(self) -> str:
        """What is the case."""
        number = counted(self.documents, "document", "documents", MOST)
        rows = "its row belongs" if self.documents == 1 else "their rows belong"
        return (
            f"{number} of {self.source} cannot reach the models: {rows} to {self.owner}, which is not configured any"
            " more."
        )

    @property
    def todo(self) -> str:
        """The remedy; the new name is known where the database has the same."""
        new = self.source if self.is_namesake else "<its new name>"
        return (
            f"If {self.owner} is the same server under a new name, run `python -m cht_sync rename-source {self.owner}"
            f" {new}`, or keep the old name by 'instance' in the extra of its connection."
        )

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

    @property
    def text(self) -> str:
        """What is the case."""
        number = counted(self.documents, "document", "documents", MOST)
        keep = "The row stays" if self.documents == 1 else "The rows stay"
        return (
            f"CouchDB shows an older revision than PostgreSQL holds of {number} of {self.source}, or none. {keep} as"
            " stored until further looks agree."
        )

    @property
    def todo(self) -> str:
        """The remedy."""
        return (
            f"After a restored backup trigger cht_sync with accept_older={json.dumps([self.source])}: they go back to"
            " what CouchDB shows. Else they do so by themselves once CouchDB has kept to it for CHT_OLDER_AFTER"
            " minutes, or stay if a copy of a CouchDB cluster only lagged."
        )


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


def read_gone_owners(destination: Destination, is_gone: IsGone) -> list[GoneOwner]:
    """Documents in collision with rows of sources that nobody copies any more, nor has read for a day.

    :param destination: where they are.
    :param is_gone: whether nobody copies the source of that name, last looked at at that time, any more.
    """
    return [
        GoneOwner(**{name: row[name] for name in ("source", "owner", "documents", "since")})
        for row in destination.rows(_BESIDE, most=MOST + 1)
        if is_gone(row["owner"], row["owner_looked_at"]) and not is_gone(row["source"], row["looked_at"])
    ]


def read_doubts(destination: Destination) -> list[Doubt]:
    """Sources in doubt.

    :param destination: where they are.
    """
    if not destination.has("couchdb_progress", "doubt"):
        return []
    return [Doubt(**row) for row in destination.rows(_DOUBTS)]


def read_older_revisions(destination: Destination) -> list[OlderRevisions]:
    """Claims of CouchDB that wait to be checked.

    :param destination: where they are.
    """
    if not destination.has("couchdb_older_revision", "settled_at"):
        return []
    return [OlderRevisions(**row) for row in destination.rows(_OLDER, most=MOST + 1)]


def read_task_errors(destination: Destination, now: datetime) -> list[TaskError]:
    """Tasks that fail now.

    :param destination: where their errors are kept.
    :param now: the time, with a zone.
    """
    if not destination.has("couchdb_task_error", "message"):
        return []
    rows = destination.rows(_TASK_ERRORS, since=now - ERRORS_KEPT)
    return [TaskError(**{**row, "message": of_ours(row["message"])}) for row in rows]


def of_sources(errors: Iterable[TaskError]) -> dict[str, TaskError]:
    """What keeps sources from being copied, by the name of the source.

    :param errors: of all tasks.
    """
    return {error.subject: error for error in errors if error.is_sync and error.subject}


def same_cause(message: str, source: str) -> str:
    """What messages about several sources have in common where their cause is one.

    Databases of one server fail with the same sentence but for their own name, and for numbers such as a time.

    :param message: about the source.
    :param source: its name, ``<host>/<database>``.
    """
    database = source.rpartition("/")[2]
    without = message.replace(source, "…")
    without = re.sub(rf"(?<![\w-]){re.escape(database)}(?![\w-])", "…", without) if database else without
    return re.sub(r"\d+([.,:]\d+)*", "#", without)


def is_gone_by(copied: Collection[str]) -> IsGone:
    """The judgement of who knows all sources that are to be copied.

    :param copied: their names.
    """
    return lambda source, _looked_at: source not in copied
