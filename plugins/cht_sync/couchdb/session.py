"""What an Airflow connection says of a CouchDB server, and the HTTP session that is made of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from cht_sync.common.retry import patiently
from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb import request
from cht_sync.couchdb.odd_json import require_readable
from cht_sync.errors import CouchDBError, SettingsError, UnreadableAnswerError
from cht_sync.settings.connections import couchdb_connection
from cht_sync.settings.servers import is_near
from cht_sync.settings.settings import COUCHDB_CONN_ID, Settings

T = TypeVar("T")
LISTS = 64 * MEGABYTE


class CouchDBSession(BaseHook):
    """One CouchDB server, through a pooled HTTP session.

    The connection is of type ``http``; its ``schema`` is ``http`` or ``https``, by default the latter, save for a
    server that :func:`~cht_sync.settings.servers.is_near`. Its extra may hold ``auth``
    (``basic``, the default, or ``session`` for a cookie), ``verify`` (``true``, ``false`` or the path of a CA
    bundle), ``cert`` and ``key`` (paths of a client certificate), ``connect_timeout`` and ``read_timeout``
    (seconds, default 10 and 120), ``databases`` (those to copy) and ``instance`` (the name to store as the
    first part of ``source``, by default the host).

    :param conn_id: id of the Airflow connection, default ``cht_couchdb``; where Airflow has none of that id
        the ``COUCHDB_*`` variables stand for it.
    :param tolerance: seconds without any good answer after which a request is given up, default 60.
    """

    conn_name_attr = "conn_id"
    default_conn_name = COUCHDB_CONN_ID
    conn_type = "http"
    hook_name = "CouchDB"

    def __init__(self, conn_id: str = default_conn_name, tolerance: float = 60.0) -> None:
        super().__init__()
        self.conn_id = conn_id
        self.tolerance = tolerance

    # --- what the connection says --------------------------------------------------------------

    @cached_property
    def connection(self) -> Connection:
        """The Airflow connection, or the one made of ``COUCHDB_*``."""
        return couchdb_connection(self.conn_id)

    @cached_property
    def url(self) -> str:
        """The address of the server, without credentials and without a slash at the end."""
        connection = self.connection
        host = (connection.host or "").strip()
        parts = urlsplit(host if "//" in host else f"//{host}")
        if "@" in parts.netloc:
            raise SettingsError(
                f"Connection {self.conn_id!r} has a user or a password in its host: move them to login and password,"
                " or to COUCHDB_USER and COUCHDB_PASSWORD."
            )
        scheme = parts.scheme or (connection.schema or ("http" if is_near(host) else "https")).lower()
        if scheme not in {"http", "https"}:
            raise SettingsError(f"Connection {self.conn_id!r} has schema {scheme!r}: use http or https.")
        try:
            name, port = parts.hostname, connection.port or parts.port
        except ValueError:
            name, port = None, None
        if name and parts.port and connection.port not in {None, parts.port}:
            raise SettingsError(
                f"Connection {self.conn_id!r} has host {host!r} and port {connection.port}: give the port in one place,"
                " such as COUCHDB_PORT."
            )
        if not name:
            raise SettingsError(f"Connection {self.conn_id!r} has host {host!r}: set it to CouchDB's host name.")
        name = f"[{name}]" if ":" in name else name
        return f"{scheme}://{name}{f':{port}' if port else ''}{parts.path.rstrip('/')}"

    @cached_property
    def instance(self) -> str:
        """The first part of ``source``: the host without port, or ``instance`` of the connection's extra."""
        return self.connection.extra_dejson.get("instance") or urlsplit(self.url).hostname or ""

    @cached_property
    def timeouts(self) -> tuple[float, float]:
        """Seconds to wait for a connection, and for each piece of an answer."""
        return self._seconds("connect_timeout", 10), self._seconds("read_timeout", 120)

    def _seconds(self, name: str, default: float) -> float:
        value = self.connection.extra_dejson.get(name, default)
        try:
            seconds = float(value)
        except (TypeError, ValueError):
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise SettingsError(f"Connection {self.conn_id!r} has {name} {value!r} in its extra: give seconds above 0.")
        return seconds

    @cached_property
    def most_bytes(self) -> int:
        """Bytes of any answer at most, save for what is written to a file; lists of names and revisions need some."""
        return max(Settings().max_page_bytes, LISTS)

    def get_conn(self) -> requests.Session:
        """The one session of this hook, made at first use."""
        return self._session

    @cached_property
    def _session(self) -> requests.Session:
        connection = self.connection
        if connection.password:
            mask_secret(connection.password)
        auth = connection.extra_dejson.get("auth", "basic")
        if auth not in {"basic", "session"}:
            raise SettingsError(f"Connection {self.conn_id!r} has auth {auth!r} in its extra: use basic or session.")
        return request.new_session(self.url, connection, cookie=auth == "session")

    # --- requests ------------------------------------------------------------------------------

    def patiently(self, call: Callable[[], T]) -> T:
        """Calls again while CouchDB fails in ways that may pass, until ``tolerance`` is over.

        :raises CouchDBError: the last failure; an UnreadableAnswerError at once.
        """
        return patiently(call, _may_pass, self.tolerance, self.log)

    def _prepared(self, method: str, path: str, subject: str, **options: Any) -> request.Request:
        return request.Request(
            session=self._session,
            method=method,
            url=self.url + path,
            subject=subject,
            conn_id=self.conn_id,
            timeouts=self.timeouts,
            most_bytes=options.pop("most_bytes", None),
            bound=options.pop("bound", self.most_bytes),
            sink=options.pop("sink", None),
            options=options,
        )

    def _of_database(self, method: str, database: str, rest: str, **options: Any) -> request.Request:
        subject = options.pop("subject", f"database {database!r}")
        return self._prepared(method, f"/{quote(database, safe='')}/{rest}", subject, **options)

    def _request(self, method: str, path: str, subject: str, **options: Any) -> bytes | bytearray:
        return self.patiently(self._prepared(method, path, subject, **options).send)

    def _decoded(self, struct: type, path: str, subject: str, method: str = "GET", **options: Any) -> Any:
        body = self._request(method, path, subject, **options)
        try:
            require_readable(body)
            return msgspec.json.decode(body, type=struct)
        except (ValueError, RecursionError) as error:
            raise CouchDBError(f"{self.url}{path} did not answer as CouchDB does: {error}.") from error


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, CouchDBError) and not isinstance(error, UnreadableAnswerError)
