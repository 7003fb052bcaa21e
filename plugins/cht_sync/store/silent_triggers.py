"""Notices a trigger of somebody else that keeps documents from being stored without an error."""

from __future__ import annotations

from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor

from cht_sync.errors import StoreError
from cht_sync.postgres.connection import regclass_text
from cht_sync.postgres.query import Names

# Such a trigger may give back nothing; this project has none on the table of documents.
# Source: https://www.postgresql.org/docs/current/plpgsql-trigger.html, bits: catalog/pg_trigger.h
_TRIGGERS = """
with relations as (
    select to_regclass(%s) as oid union select relid from pg_partition_tree(to_regclass(%s))
)
select distinct quote_ident(t.tgname) from pg_trigger t join relations r on r.oid = t.tgrelid
where not t.tgisinternal and t.tgenabled in ('O', 'A') and t.tgtype & 3 = 3 and t.tgtype & 20 > 0
order by 1
"""
# A row of a higher generation than the page's stays for other reasons, unless whoever writes is sure.
_NOT_STORED = """
select count(*) filter (where lacks), array_agg(_id) filter (where differs), count(*)
from (
    select page._id,
        stored.source is null or is_ours and not same_state and (%(sure)s
            or coalesce(substring(page.doc->>'_rev' from '^\\d+')::numeric, 0)
                >= coalesce(substring(stored.rev from '^\\d+')::numeric, 0)
        ) as lacks,
        is_ours and same_state and stored.doc is distinct from page.doc
            and stored.saved_timestamp is distinct from %(stamp)s as differs
    from pg_temp.cht_sync_page page
    left join lateral (
        select s.source, s._deleted, s.doc, s.doc->>'_rev' as rev, s.saved_timestamp
        from {schema}.{table} s where s._id = page._id offset 0
    ) as stored on true
    cross join lateral (
        select stored.source = %(source)s, (stored._deleted, stored.rev) is not distinct from (
            page._deleted, page.doc->>'_rev'
        )
    ) as compared (is_ours, same_state)
) page
"""
_TRY = """
update {schema}.{table} s set saved_timestamp = %(stamp)s, doc = page.doc
from pg_temp.cht_sync_page page where s._id = page._id and s._id = any(%(ids)s)
"""
# What triggers and constraints refuse aloud is not dropped.
_ALOUD = {"22", "23", "P0"}
_NOT_STAMPED = """
select count(*) from {schema}.{table}
where _id = any(%(ids)s) and coalesce(source, %(source)s) = %(source)s and saved_timestamp is distinct from %(stamp)s
"""


def check_stored(cursor: Cursor, names: Names, values: dict[str, Any]) -> None:
    """Makes sure that the documents of the page table are stored, where fewer rows were written than documents came.

    :param cursor: of the transaction that has just written the page, and decides nothing about other sources yet.
    :param values: ``source`` and ``stamp`` of the page, and ``sure``: whether rows may have gone back to an older
        revision.
    :raises StoreError: if a trigger has kept documents from being stored; names it.
    """
    if triggers := _triggers(cursor, names):
        lacking, differing, documents = names.row(cursor, _NOT_STORED, values)
        if lacking := lacking or _untouchable(cursor, names, {**values, "ids": differing or []}):
            raise _refusal(names, triggers, lacking, documents)


def _untouchable(cursor: Cursor, names: Names, values: dict[str, Any]) -> int:
    """How many rows a trigger keeps as they are, of those that differ from documents of the same revision.

    They may be damaged; or a trigger on insert makes of the documents just what is stored, and nothing was to be done.
    Only a try shows it, and is rolled back.
    """
    if not values["ids"]:
        return 0
    cursor.execute("savepoint cht_sync_try")
    try:
        return len(values["ids"]) - names.execute(cursor, _TRY, values).rowcount
    except psycopg2.Error as error:
        if (error.pgcode or "")[:2] not in _ALOUD:
            raise
        return 0
    finally:
        if not cursor.connection.closed:
            cursor.execute("rollback to savepoint cht_sync_try; release savepoint cht_sync_try")


def check_stamped(cursor: Cursor, names: Names, values: dict[str, Any]) -> None:
    """Makes sure that documents have the stamp that they were given."""
    if (triggers := _triggers(cursor, names)) and (lacking := names.value(cursor, _NOT_STAMPED, values)):
        raise _refusal(names, triggers, lacking, len(values["ids"]))


def not_stored(cursor: Cursor, names: Names, lacking: int, documents: int) -> StoreError:
    """The error of documents that Postgres took and did not store."""
    return _refusal(names, _triggers(cursor, names), lacking, documents)


def _triggers(cursor: Cursor, names: Names) -> list[str]:
    cursor.execute(_TRIGGERS, 2 * [regclass_text(names.schema, names.table)])
    return [name for (name,) in cursor.fetchall()]


def _refusal(names: Names, triggers: list[str], lacking: int, documents: int) -> StoreError:
    table = f"{names.schema}.{names.table}"
    if not triggers:
        return StoreError(f"Postgres took {documents - lacking} of {documents} documents; the page is rolled back.")
    several = len(triggers) > 1
    return StoreError(
        f"{'One of the triggers' if several else 'Trigger'} {', '.join(triggers)} on {table} kept {lacking:,} of"
        f" {documents:,} documents from being stored, without an error; the page is rolled back. Drop or disable"
        f" {'that' if several else 'the'} trigger, which is not of this project."
    )
