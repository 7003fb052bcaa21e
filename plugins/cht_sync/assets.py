"""How Airflow's assets and OpenLineage's datasets are called."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from airflow.sdk import Asset

from cht_sync.settings.connections import postgres_connection

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from cht_sync.couchdb.hook import CouchDBHook
    from cht_sync.settings.settings import RawTable, Settings


def source_asset(source: str) -> Asset:
    """The asset of one source: has an event whenever a run copied changes of it.

    :param source: ``<host>/<database>``.
    """
    return Asset(f"couchdb://{quote(source)}")


def table_asset(settings: Settings) -> Asset:
    """The asset of the table of documents, whatever source they came from.

    Not an outlet of the tasks that copy: two that are the first to name the same asset at the same time make Airflow
    fail one of them, after its work is done. One task tells of it for all.
    """
    connection, raw = postgres_connection(settings), settings.raw_table
    path = "/".join(quote(str(part), safe="") for part in (connection.schema, raw.schema, raw.table))
    return Asset(f"{postgres_namespace(connection)}/{path}")


def database_dataset(hook: CouchDBHook, database: str) -> tuple[str, str]:
    """What OpenLineage is told of a CouchDB database: namespace and name.

    Its list of names has none for CouchDB; this one is made like that of other servers of documents.

    Source: https://openlineage.io/docs/spec/naming
    """
    server = urlsplit(hook.url)
    port = "" if server.port else {"http": ":80", "https": ":443"}[server.scheme]
    return f"couchdb://{server.netloc}{port}", database


def table_dataset(connection: Connection, raw: RawTable) -> tuple[str, str]:
    """What OpenLineage is told of the table of documents, as dbt's events name it: namespace and name.

    Source: https://openlineage.io/docs/spec/naming
    """
    return postgres_namespace(connection), f"{connection.schema}.{raw.schema}.{raw.table}"


def postgres_namespace(connection: Connection) -> str:
    """``postgres://<host>:<port>``, as an asset and OpenLineage can hold it.

    :param connection: whose host may also be a socket's folder, an address of IPv6, or several separated by commas.
    :return: with ``localhost`` for a socket, and the first of several hosts.
        Source: https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNECT-HOST
    """
    host = (connection.host or "").split(",")[0].strip()
    if not host or host.startswith(("/", "@")):
        host = "localhost"
    elif ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return f"postgres://{host}:{connection.port or 5432}"
