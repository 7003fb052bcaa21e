"""Airflow connections, with the environment variables of CHT Sync where Airflow has none."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from cht_sync.errors import SettingsError
from cht_sync.settings import COUCHDB_CONN_ID, DBT_POSTGRES_CONN_ID, POSTGRES_CONN_ID, Settings

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)
# Idle links through firewalls are found dead within a minute or two instead of hanging for ever.
POSTGRES_EXTRA = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}


def couchdb_connection(conn_id: str = COUCHDB_CONN_ID, settings: Settings | None = None) -> Connection:
    """The connection of a CouchDB server.

    :param conn_id: id of an Airflow connection of type ``http``; the default one may be missing, then
        ``COUCHDB_*`` stand for it.
    :param settings: the environment; ``os.environ`` by default.
    :raises SettingsError: if another connection is missing or a variable cannot be used.
    """
    return _lookup(conn_id, COUCHDB_CONN_ID, lambda: _couchdb_from_environment(settings or Settings()))


def postgres_connection(settings: Settings | None = None) -> Connection:
    """The connection of the role that writes the raw tables: ``cht_postgres``, else ``POSTGRES_*``.

    :param settings: the environment; ``os.environ`` by default.
    :raises SettingsError: if a variable cannot be used.
    """
    return _lookup(POSTGRES_CONN_ID, POSTGRES_CONN_ID, lambda: _postgres_from_environment(settings or Settings()))


def dbt_connection(settings: Settings | None = None) -> Connection:
    """The connection of the role that owns the models.

    ``cht_postgres_dbt`` where Airflow has it, else that of :func:`postgres_connection` with
    ``DBT_POSTGRES_USER``, ``_PASSWORD`` and ``_HOST`` in place of its own.

    :param settings: the environment; ``os.environ`` by default.
    :raises SettingsError: if a variable cannot be used.
    """

    def raw_with_overrides() -> Connection:
        raw = postgres_connection(settings)
        overrides = (settings or Settings()).dbt_postgres_overrides
        if "password" in overrides:
            mask_secret(overrides["password"])
        return Connection(
            conn_id=DBT_POSTGRES_CONN_ID,
            conn_type="postgres",
            host=overrides.get("host", raw.host),
            login=overrides.get("user", raw.login),
            password=overrides.get("password", raw.password),
            schema=raw.schema,
            port=raw.port,
            extra=raw.extra,
        )

    return _lookup(DBT_POSTGRES_CONN_ID, DBT_POSTGRES_CONN_ID, raw_with_overrides)


def _lookup(conn_id: str, default_id: str, otherwise: Callable[[], Connection]) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        if conn_id == default_id:
            connection = otherwise()
            log.info("Airflow has no connection %s: %s comes from the environment.", conn_id, connection.host)
            return connection
    raise SettingsError(f"Airflow has no connection {conn_id!r}: add it, or take it out of CHT_COUCHDB_CONN_IDS.")


def _couchdb_from_environment(settings: Settings) -> Connection:
    server = settings.couchdb
    mask_secret(server.password)
    return Connection(
        conn_id=COUCHDB_CONN_ID,
        conn_type="http",
        host=server.host,
        port=server.port,
        login=server.user,
        password=server.password,
        schema="https" if server.secure else "http",
    )


def _postgres_from_environment(settings: Settings) -> Connection:
    server = settings.postgres
    mask_secret(server.password)
    return Connection(
        conn_id=POSTGRES_CONN_ID,
        conn_type="postgres",
        host=server.host,
        port=server.port,
        login=server.user,
        password=server.password,
        schema=server.database,
        extra=json.dumps(POSTGRES_EXTRA),
    )
