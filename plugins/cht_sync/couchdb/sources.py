"""Which databases of which CouchDB servers are copied."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypedDict

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.errors import SettingsError
from cht_sync.settings.settings import Settings

# Source: https://docs.couchdb.org/en/stable/api/database/common.html#put--db
_DATABASE = re.compile(r"_?[a-z][a-z0-9_$()+/-]*")


class Source(TypedDict):
    """One database to copy: arguments of :class:`~cht_sync.operators.couchdb_to_postgres.CouchDBToPostgresOperator`."""

    couchdb_conn_id: str
    database: str
    source: str


def configured_sources(settings: Settings | None = None) -> list[Source]:
    """Every database of every configured CouchDB server, in order.

    A connection names its databases as ``databases`` in its extra, a list or a text separated by commas or
    white space; where it does not, ``COUCHDB_DBS`` says them.

    :raises SettingsError: if a connection is missing, no database is named, or two would share a source name.
    """
    settings = settings or Settings()
    sources: list[Source] = []
    for conn_id in settings.couchdb_conn_ids:
        hook = CouchDBHook(conn_id)
        named = _names(hook.connection.extra_dejson.get("databases"))
        for database in named or settings.couchdb_databases:
            if not _DATABASE.fullmatch(database):
                raise SettingsError(
                    f"{database!r} is no name of a CouchDB database (connection {conn_id!r}): correct COUCHDB_DBS, or"
                    " 'databases' in the extra of the connection.",
                    "COUCHDB_DBS",
                )
            name = source_name(hook, database)
            if any(each["source"] == name for each in sources):
                raise SettingsError(
                    f"Source {name!r} is named twice, the second time by connection {conn_id!r}: take it out of one,"
                    " or give one connection another 'instance' in its extra."
                )
            sources.append({"couchdb_conn_id": conn_id, "database": database, "source": name})
    return sources


def source_order(settings: Settings) -> list[str]:
    """Names of the sources in the order of precedence for an ``_id``; none where no setting names them."""
    try:
        return [source["source"] for source in configured_sources(settings)]
    except SettingsError:
        return []


def source_name(hook: CouchDBHook, database: str) -> str:
    """``<host>/<database>``, as CHT Sync names a source."""
    return f"{hook.instance}/{database}"


def _names(value: Any) -> list[str]:
    if not isinstance(value, (str, list, type(None))):
        raise SettingsError(f"databases {value!r} in the extra of a CouchDB connection: give a list or a text.")
    parts: Iterable[Any] = re.split(r"[,\s]+", value) if isinstance(value, str) else value or []
    return list(dict.fromkeys(str(part) for part in parts if part))
