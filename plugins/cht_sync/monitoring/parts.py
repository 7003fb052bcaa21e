"""The parts of the state: each is read by itself, so that one that cannot be read hides nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal

import psycopg2
from psycopg2 import errors
from pydantic import BaseModel, Field

from cht_sync.common.text import moment
from cht_sync.monitoring.blocking import Blocker

if TYPE_CHECKING:
    from cht_sync.settings.settings import Settings

PartName = Literal[
    "tables", "sources", "rows", "quarantine", "collisions", "ledger", "first_load", "proofs", "models", "groups",
    "rejects", "task_errors", "doubts", "older_revisions", "incidents",
    "removed", "forms", "form_notices",
]  # fmt: skip
Why = Literal["locked", "slow", "refused", "missing", "failed"]
# SQLSTATE of a lock that is not had in time, and of a statement that took too long: it may have waited for one.
LOCKED, SLOW = "55P03", "57014"
_MISSING = {"42P01", "42703"}
RAW, REJECTS = "", "document_rejects"


@dataclass(frozen=True, slots=True)
class Part:
    """What is asked as one.

    :param what: what is not known where it fails, as the beginning of a sentence.
    :param tables: that it is read from; "" is the table of documents.
    """

    what: str
    tables: tuple[str, ...]


PARTS: dict[PartName, Part] = {
    "tables": Part("Whether the tables of the sync are there", ("couchdb_incident",)),
    "sources": Part("How far the sources are read", ("couchdb_progress",)),
    "rows": Part("How many rows there are", ()),
    "quarantine": Part("What is in quarantine", ("couchdb_quarantine",)),
    "collisions": Part("Which documents share their id", ("couchdb_collision", "couchdb_progress", RAW)),
    "ledger": Part("How much was read lately", ("couchdb_window",)),
    "first_load": Part("How far first loads are", ("couchdb_first_load", "couchdb_window")),
    "proofs": Part("What the last reconciliations found", ("couchdb_reconciliation",)),
    "models": Part("How the models ended", ("couchdb_model_result",)),
    "groups": Part("How many documents wait for the models", ("couchdb_model_run", RAW)),
    "rejects": Part("Which values were rejected", (REJECTS,)),
    "task_errors": Part("Why tasks fail", ("couchdb_task_error",)),
    "doubts": Part("Whether a source may be incomplete", ("couchdb_progress",)),
    "older_revisions": Part("Whether CouchDB shows older revisions", ("couchdb_older_revision",)),
    "removed": Part("Which models were removed", ("couchdb_deployment",)),
    "forms": Part("Which forms cannot be read", ("form_definition",)),
    "form_notices": Part("What changed in the tables of forms", ("form_notice",)),
    "incidents": Part("How many incidents are open", ("couchdb_incident",)),
}


class Unknown(BaseModel):
    """A part that could not be read."""

    part: PartName
    why: Why
    text: str = Field(description="One sentence, with who is in the way where that is known.")
    since: datetime | None = Field(default=None, description="When it was last read, or since when it is locked.")
    blockers: list[Blocker] = []


def tables_of(part: PartName, settings: Settings) -> list[tuple[str, str]]:
    """Schema and name of the tables that a part is read from."""
    raw = settings.raw_table
    return [
        (settings.dbt_schema, name) if name == REJECTS else (raw.schema, raw.table if name == RAW else name)
        for name in PARTS[part].tables
    ]


def why_unknown(error: psycopg2.Error) -> Why:
    """The kind of a failure."""
    code = error.pgcode or ""
    if code in {LOCKED, SLOW}:
        return "locked" if code == LOCKED else "slow"
    if isinstance(error, errors.InsufficientPrivilege):
        return "refused"
    return "missing" if code in _MISSING else "failed"


def unknown(
    part: PartName,
    why: Why,
    found: list[Blocker],
    *,
    tables: list[tuple[str, str]],
    said: str,
    role: str,
    since: datetime | None,
) -> Unknown:
    """The sentence about a part that could not be read.

    :param role: that reads.
    :param since: when it was last read, as far as this process knows.
    """
    named = ", ".join(f"{schema}.{table}" for schema, table in tables) or "the catalog"
    is_locked = f"{f'one of {named}' if len(tables) > 1 else named} is locked"
    reasons: dict[Why, str] = {
        "locked": f"{is_locked}, and the session was gone when it was looked for",
        "slow": f"reading {named} took too long",
        "refused": f"role {role!r} may not read it ({said}): grant it select on {named}",
        "missing": f"the database lacks what this version reads ({said}): the next run of cht_sync brings it up to"
        " date",
        "failed": f"PostgreSQL could not read {named} ({said})",
    }
    reason = reasons[why]
    if found:
        why = "locked"
        reason = f"{is_locked} by {found[0]}: wait for it, or end it by pg_terminate_backend({found[0].pid})"
    locked_since = min((each.since for each in found if each.since), default=None)
    last = f"; last known at {moment(since)}" if since else ""
    text = f"{PARTS[part].what} is not known: {reason}{last}."
    return Unknown(part=part, why=why, text=text, since=locked_since or since, blockers=found)
