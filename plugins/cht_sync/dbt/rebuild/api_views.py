"""The views of ``include/postgrest/api.sql``, which follow the models."""

from __future__ import annotations

import logging
from typing import Any

import psycopg2
from airflow.sdk import Connection

from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.errors import SettingsError, StoreError
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


def withdraw(cursor: Any) -> bool:
    """Takes the views away, in the transaction that swaps models: none of them can hold up a deployment.

    :param cursor: of the role of the models.
    :return: whether there is such a schema, so that :func:`refresh` has to follow.
    :raises RebuildError: if views of people hang on them.
    """
    cursor.execute(_THERE)
    if not cursor.fetchone()[0]:
        return False
    try:
        cursor.execute("select api.withdraw()")
    except psycopg2.errors.DependentObjectsStillExist as error:
        detail = dependents_of(error)
        raise RebuildError(
            f"A user-defined object depends on a view of the schema api, nothing was changed: {detail}; let it read the"
            " model itself, and the next deployment goes on."
        ) from None
    return True


def refresh(cursor: Any) -> int:
    """Makes the views follow the models; PostgREST is told at the commit where any changed.

    :param cursor: of the role of the models.
    :return: views that were made anew or taken away.
    """
    cursor.execute("select api.refresh()")
    return int(cursor.fetchone()[0])


def follow(connection: Connection) -> None:
    """Makes the views follow after a run of the models. That they cannot is no fault of the models: it is warned of.

    :param connection: of the role of the models.
    """
    try:
        with transaction(connection, "cht_sync api", "make the views of the schema api") as cursor:
            cursor.execute(_THERE)
            if not cursor.fetchone()[0]:
                return
            cursor.execute("set local lock_timeout = '2s'")
            changed = refresh(cursor)
    except (SettingsError, StoreError) as error:
        log.warning("The views of the schema api are as they were; the next run tries again: %s", error)
        return
    if changed:
        log.info("%d views of the schema api were created again or dropped.", changed)
