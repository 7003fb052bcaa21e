"""Airflow connections, with the environment variables of CHT Sync where Airflow has none."""

from __future__ import annotations

import copy
import json
import logging
import os
import ssl
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import certifi
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from cht_sync.errors import SettingsError
from cht_sync.settings.servers import CouchDBSettings, PostgresSettings
from cht_sync.settings.settings import COUCHDB_CONN_ID, DBT_POSTGRES_CONN_ID, POSTGRES_CONN_ID, SSL_PARAMETERS, Settings

log = logging.getLogger(__name__)
# Idle links through firewalls are found dead within a minute or two instead of hanging for ever.
POSTGRES_EXTRA = {"connect_timeout": 10, "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
REPORT_CONN_ID = "cht_postgres_report"


def couchdb_connection(conn_id: str = COUCHDB_CONN_ID, settings: Settings | None = None) -> Connection:
    """The connection of a CouchDB server.

    :param conn_id: id of an Airflow connection of type ``http``; the default one may be missing, then
        ``COUCHDB_*`` stand for it.
    :raises SettingsError: if another connection is missing, a variable cannot be used, or a name in its extra could
        not be told in a log as it is.
    """
    connection = _lookup(conn_id, COUCHDB_CONN_ID, lambda: _couchdb_from_environment(settings or Settings()))
    _check_names(connection)
    return connection


def postgres_connection(settings: Settings | None = None) -> Connection:
    """The connection of the role that writes the raw tables: ``cht_postgres``, else ``POSTGRES_*``.

    What its extra does not say about TLS ``POSTGRES_SSL*`` do, also for a connection of Airflow.
    """
    known = settings or Settings()

    def from_environment() -> Connection:
        server = known.postgres
        return _connection(POSTGRES_CONN_ID, "postgres", server, server.database, POSTGRES_EXTRA)

    return _with_tls(_lookup(POSTGRES_CONN_ID, POSTGRES_CONN_ID, from_environment), known.postgres_tls)


def dbt_connection(settings: Settings | None = None) -> Connection:
    """The connection of the role that owns the models.

    ``cht_postgres_dbt`` where Airflow has it, else that of :func:`postgres_connection` with
    ``DBT_POSTGRES_USER``, ``_PASSWORD``, ``_HOST`` and ``_SSL*`` in place of its own.
    """
    known = settings or Settings()

    def raw_with_overrides() -> Connection:
        raw = postgres_connection(known)
        overrides = known.dbt_postgres_overrides
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
            extra=json.dumps(_with_certificate(raw.extra_dejson, known.dbt_postgres_tls)),
        )

    connection = _lookup(DBT_POSTGRES_CONN_ID, DBT_POSTGRES_CONN_ID, raw_with_overrides)
    return _with_tls(connection, _with_certificate(known.postgres_tls, known.dbt_postgres_tls))


def report_connection(settings: Settings | None = None) -> Connection:
    """The connection of the role that writes reports: ``cht_postgres_report``, else that of :func:`dbt_connection`."""
    known = settings or Settings()
    connection = _lookup(REPORT_CONN_ID, REPORT_CONN_ID, lambda: dbt_connection(known))
    return _with_tls(connection, known.postgres_tls)


def _with_tls(connection: Connection, variables: dict[str, str]) -> Connection:
    said = {name: value for name in SSL_PARAMETERS if (value := connection.extra_dejson.get(name))}
    wanted = _with_certificate(variables, said)
    if wanted.get("sslrootcert") == "system":
        # Libpq's word for it, which the OpenSSL in the wheel of psycopg2 takes for where it was built.
        # Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-SSLROOTCERT
        wanted = {"sslmode": "verify-full", **wanted, "sslrootcert": system_bundle()}
    return with_extra(connection, wanted) if wanted != said else connection


def _with_certificate(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """One set of TLS parameters over another; a certificate never gets the key of another one."""
    kept = {name: value for name, value in base.items() if name != "sslkey" or "sslcert" not in over}
    return {**kept, **over}


def _check_names(connection: Connection) -> None:
    """Refuses names that could forge a line of a log, or that Airflow would take for a template.

    Airflow renders what a mapped task gets from another task's XCom.
    Source: ``ListOfDictsExpandInput.resolve`` in ``airflow/sdk/definitions/_internal/expandinput.py``.
    """
    extra = connection.extra_dejson
    databases = extra.get("databases") or []
    parts = databases if isinstance(databases, list) else str(databases).split()
    named = [("instance", extra.get("instance") or ""), *(("databases", part) for part in parts)]
    for field, value in named:
        text = str(value)
        if not text.isprintable() or any(mark in text for mark in ("{{", "{%", "{#")):
            raise SettingsError(
                f"{field} {value!r} in the extra of connection {connection.conn_id!r} cannot be used: give a name"
                " without control characters and without {{, {% and {#."
            )


def _lookup(conn_id: str, default_id: str, otherwise: Callable[[], Connection]) -> Connection:
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        if conn_id == default_id:
            connection = otherwise()
            _tell_once(conn_id, str(connection.host))
            return connection
    raise SettingsError(f"Airflow has no connection {conn_id!r}: add it, or take it out of CHT_COUCHDB_CONN_IDS.")


@cache
def _tell_once(conn_id: str, host: str) -> None:
    """A task looks a connection up several times."""
    log.info("Airflow has no connection %s: %s comes from the environment.", conn_id, host)


def _couchdb_from_environment(settings: Settings) -> Connection:
    server = settings.couchdb
    schema = "https" if server.secure else "http"
    return _connection(COUCHDB_CONN_ID, "http", server, schema, settings.couchdb_tls)


def _connection(
    conn_id: str, conn_type: str, server: CouchDBSettings | PostgresSettings, schema: str, extra: dict[str, Any]
) -> Connection:
    mask_secret(server.password)
    return Connection(
        conn_id=conn_id,
        conn_type=conn_type,
        host=server.host,
        port=server.port,
        login=server.user,
        password=server.password,
        schema=schema,
        extra=json.dumps(extra),
    )


def with_extra(connection: Connection, more: Mapping[str, Any]) -> Connection:
    """A copy of a connection with more in its extra."""
    copied = copy.copy(connection)
    copied.extra = json.dumps({**connection.extra_dejson, **more})
    return copied


def system_bundle() -> str:
    """The file of the CAs that this machine trusts.

    The OpenSSL in the wheel of psycopg2 looks where it was built, so libpq has to be told.
    """
    return os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or certifi.where()
