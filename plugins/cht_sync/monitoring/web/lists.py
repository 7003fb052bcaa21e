"""The lists behind the numbers: which documents, and why, never what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cht_sync.monitoring.web.answers import (
    Collision,
    Collisions,
    Entries,
    Entry,
    Reject,
    RejectedDocument,
    RejectedDocuments,
)
from cht_sync.redaction import of_ours

if TYPE_CHECKING:
    from cht_sync.monitoring.destination import Destination

PAGE = 50
REJECTS = 10_000
# Of the newest ones, where there are very many.
_REJECTS = """
select doc_type, field, reason, count(*)::bigint as documents from (
    select doc_type, field, reason from {models}.document_rejects order by saved_timestamp desc limit %(most)s
) as newest group by 1, 2, 3 order by 4 desc, 1, 2 limit 50
"""
_QUARANTINE = """
select left(_id, 200) as id, _rev as rev, sqlstate, reason, first_seen, last_seen, attempts, body_bytes as bytes
from {schema}.couchdb_quarantine where source = %(source)s and resolved_at is null
order by last_seen desc, key limit %(limit)s offset %(offset)s
"""
_COLLISIONS = """
select left(c._id, 200) as id, c._deleted as deleted, d.source as owner, c.saved_timestamp at time zone 'utc' as since
from (
    select _id, _deleted, saved_timestamp, key from {schema}.couchdb_collision where source = %(source)s
    order by key limit %(limit)s offset %(offset)s
) c left join {schema}.{table} d on d._id = c._id order by c.key
"""
_REJECTED = """
select left(uuid, 200) as id, saved_timestamp at time zone 'utc' as saved_at from {models}.document_rejects
where field = %(field)s and reason = %(reason)s and doc_type is not distinct from %(doc_type)s
order by saved_timestamp desc limit %(limit)s offset %(offset)s
"""


def quarantine(destination: Destination, source: str, offset: int) -> Entries:
    """Documents of a source that are in quarantine, the newest first."""
    rows, more = _page(destination, _QUARANTINE, offset, source=source)
    return Entries(items=[Entry(**{**row, "reason": of_ours(row["reason"])}) for row in rows], more=more)


def collisions(destination: Destination, source: str, offset: int) -> Collisions:
    """Documents of a source whose ``_id`` belongs to another."""
    rows, more = _page(destination, _COLLISIONS, offset, source=source)
    return Collisions(items=[Collision(**row) for row in rows], more=more)


def read_rejects(destination: Destination) -> list[Reject] | None:
    """How many values of each field the starter models could not use.

    :param destination: as the role that owns the models.
    :return: None where the models have no such table.
    """
    if not destination.has_rejects():
        return None
    return [Reject(**row) for row in destination.rows(_REJECTS, most=REJECTS)]


def rejected(destination: Destination, field: str, reason: str, doc_type: str | None, offset: int) -> RejectedDocuments:
    """Documents whose value of a field the starter models could not use, the newest first."""
    rows, more = _page(destination, _REJECTED, offset, field=field, reason=reason, doc_type=doc_type)
    return RejectedDocuments(items=[RejectedDocument(**row) for row in rows], more=more)


def _page(destination: Destination, query: str, offset: int, **values: Any) -> tuple[list[dict[str, Any]], bool]:
    rows = destination.rows(query, limit=PAGE + 1, offset=offset, **values)
    return rows[:PAGE], len(rows) > PAGE
