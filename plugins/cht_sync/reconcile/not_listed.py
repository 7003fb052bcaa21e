"""What Postgres holds beside the documents that CouchDB listed, with the table ``couchdb_listing``."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from psycopg2 import sql

from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession
from cht_sync.store.known_documents import LIVE

AT_A_TIME = 10_000
# One look through a table of a hundred million rows takes longer than a statement may by default.
STATEMENT_TIMEOUT = "4h"
# Postgres takes an array for ten elements, and would look through all of them for each row.
_BY_HASH = "select set_config('statement_timeout', %s, true), set_config('enable_nestloop', 'off', true)"
# The proof of a source has a number there, and each _id a hash.
NUMBER = "select hashtextextended(%(run)s || ' ' || %(source)s, 3)"
LIST = """
insert into {schema}.couchdb_listing (proof, hashes)
select %(proof)s, array_agg(hashtextextended(i, %(proof)s)) from unnest(%(ids)s::varchar[]) i having count(*) > 0
"""
FORGET = "delete from {schema}.couchdb_listing where proof = hashtextextended(%(run)s || ' ' || %(source)s, 3)"
PRUNE = """
delete from {schema}.couchdb_listing where proof not in (
    select hashtextextended(run || ' ' || source, 3) from {schema}.couchdb_reconciliation
    where part = 'beside' and verdict is null and planned_at > now() - interval '7 days'
)
"""
_UNLISTED = """
select known._id from (KNOWN) known
left join (
    select unnest(hashes) as hash from {schema}.couchdb_listing where proof = %(proof)s
) listed on listed.hash = hashtextextended(known._id, %(proof)s)
where listed.hash is null
order by known._id limit %(limit)s
"""


def unlisted(session: PatientSession, named: Names, source: str, proof: int) -> Iterator[list[str]]:
    """Ids of documents that are live in Postgres or in quarantine, and that were not listed.

    :param session: with Postgres.
    :param named: ``schema`` and ``table`` of the documents.
    :param source: its name.
    :param proof: number of the proof in the listing.
    """
    for known in LIVE:
        query = named.compose(_UNLISTED.replace("KNOWN", known))
        after: str | None = ""
        while after is not None:
            values = {"source": source, "proof": proof, "after": after, "limit": AT_A_TIME}
            names = session.ask("look for documents that CouchDB does not list", partial(_page, query, values))
            after = names[-1] if len(names) == AT_A_TIME else None
            if names:
                yield names


def _page(query: sql.Composed, values: dict[str, Any], cursor: Any) -> list[str]:
    cursor.execute(_BY_HASH, (STATEMENT_TIMEOUT,))
    cursor.execute(query, values)
    return [name for (name,) in cursor]
