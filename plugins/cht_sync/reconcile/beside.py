"""What Postgres holds beside the documents that CouchDB listed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cht_sync.reconcile.stored_side import StoredSide

AT_A_TIME = 10_000
# One look through a table of a hundred million rows takes longer than a statement may by default.
STATEMENT_TIMEOUT = "4h"
# Postgres takes an array for ten elements, and would look through all of them for each row.
_BY_HASH = "select set_config('statement_timeout', %s, true), set_config('enable_nestloop', 'off', true)"
_UNLISTED = """
select known._id from (KNOWN) known
left join (
    select unnest(hashes) as hash from {schema}.couchdb_listing where proof = %(proof)s
) listed on listed.hash = hashtextextended(known._id, %(proof)s)
where listed.hash is null
order by known._id limit %(limit)s
"""
_KNOWN = (
    "select _id from {schema}.{table} where source = %(source)s and not _deleted and _id > %(after)s",
    "select _id from {schema}.couchdb_collision where source = %(source)s and not _deleted and _id > %(after)s",
    """
    select _id from {schema}.couchdb_quarantine
    where source = %(source)s and resolved_at is null and _id > %(after)s
        and key = sha256(convert_to(_id, 'UTF8'))
    """,
)


def unlisted(stored: StoredSide, source: str, proof: int) -> Iterator[list[str]]:
    """Ids of documents that are live in Postgres or in quarantine, and that were not listed.

    :param stored: of the source.
    :param source: its name.
    :param proof: number of the proof in the listing.
    """
    for known in _KNOWN:
        query = _UNLISTED.replace("KNOWN", known)
        after: str | None = ""
        while after is not None:
            values = {"source": source, "proof": proof, "after": after, "limit": AT_A_TIME}
            names = stored.ask("look for documents that CouchDB does not list", partial(_page, stored, query, values))
            after = names[-1] if len(names) == AT_A_TIME else None
            if names:
                yield names


def _page(stored: StoredSide, query: str, values: dict[str, Any], cursor: Any) -> list[str]:
    cursor.execute(_BY_HASH, (STATEMENT_TIMEOUT,))
    cursor.execute(stored.compose(query), values)
    return [name for (name,) in cursor]
