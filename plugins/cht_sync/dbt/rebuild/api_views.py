"""The views of ``include/postgrest/api.sql``, which follow the models."""

from __future__ import annotations

import logging

import psycopg2
from airflow.sdk import Connection
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.errors import SettingsError, StoreError
from cht_sync.postgres.lookups import value_of
from cht_sync.postgres.transaction import transaction
from cht_sync.redaction import dependents_of

log = logging.getLogger(__name__)

# Where a role may not call them, the schema is somebody else's.
_THERE = """
select count(*) = 2
from pg_proc p join pg_namespace n on n.oid = p.pronamespace
where n.nspname = 'api' and p.proname in ('refresh', 'withdraw') and p.pronargs = 0
  and has_schema_privilege(n.oid, 'usage') and has_function_privilege(p.oid, 'execute')
"""


def withdraw(cursor: Cursor) -> bool:
    """Takes the views away, in the transaction that swaps models: none of them can hold up a deployment.

    :return: whether there is such a schema, so that :func:`refresh` has to follow.
    :raises RebuildError: if user-defined views depend on them.
    """
    if not value_of(cursor, _THERE):
        return False
    try:
        cursor.execute("select api.withdraw()")
    except psycopg2.errors.DependentObjectsStillExist as error:
        detail = dependents_of(error)
        raise RebuildError(
            f"Something of people's hangs on a view of the schema api, nothing was changed: {detail}; let it read the"
            " model itself, and the next deployment goes on."
        ) from None
    return True


def refresh(cursor: Cursor) -> int:
    """Makes the views follow the models and counts those that changed; PostgREST is notified at the commit."""
    return int(value_of(cursor, "select api.refresh()"))


def follow(connection: Connection) -> None:
    """Makes the views follow after a run of the models. That they cannot is no fault of the models: it is warned of."""
    try:
        with transaction(connection, "cht_sync api", "make the views of the schema api") as cursor:
            if not value_of(cursor, _THERE):
                return
            cursor.execute("set local lock_timeout = '2s'")
            changed = refresh(cursor)
    except (SettingsError, StoreError) as error:
        log.warning("The views of the schema api are as they were; the next run tries again: %s", error)
        return
    if changed:
        log.info("%d views of the schema api were made anew or taken away.", changed)
