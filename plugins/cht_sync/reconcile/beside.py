"""What Postgres holds beside the documents that CouchDB listed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cht_sync.reconcile.stored_side import StoredSide

AT_A_TIME = 10_000
# By keyset: in the order of Postgres, which need not be that of CouchDB.
_UNLISTED = """
with known as materialized (KNOWN)
select known._id, exists (
    select from {schema}.couchdb_listing l
    where l.proof = %(proof)s and l.key = sha256(convert_to(known._id, 'UTF8'))
)
from known order by known._id
"""
_KNOWN = (
    """
    select _id from {schema}.{table} where source = %(source)s and not _deleted and _id > %(after)s
    order by _id limit %(limit)s
    """,
    """
    select _id from {schema}.couchdb_collision where source = %(source)s and not _deleted and _id > %(after)s
    order by _id limit %(limit)s
    """,
    """
    select _id from {schema}.couchdb_quarantine
    where source = %(source)s and resolved_at is null and _id > %(after)s
        and key = sha256(convert_to(_id, 'UTF8')) order by _id limit %(limit)s
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
            with stored.transaction("look for documents that CouchDB does not list") as cursor:
                cursor.execute(stored.compose(query), values)
                found = cursor.fetchall()
            after = found[-1][0] if len(found) == AT_A_TIME else None
            if names := [name for name, listed in found if not listed]:
                yield names
