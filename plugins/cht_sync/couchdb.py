"""The hook that speaks HTTP with CouchDB; it knows nothing of Postgres."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import IO, Any, TypeVar
from urllib.parse import quote, urlsplit

import msgspec
import requests
from airflow.sdk import BaseHook, Connection
from airflow.sdk.log import mask_secret

from cht_sync import transport
from cht_sync.all_docs import decode_rows
from cht_sync.connections import couchdb_connection
from cht_sync.errors import BrokenAnswerError, CouchDBError, NotHandedOutError, RequestRefusedError, SettingsError
from cht_sync.page import MEGABYTE, BulkGet, Change, DatabaseInfo, Page, PurgedInfo, ServerInfo
from cht_sync.page_decoder import decode_page
from cht_sync.patience import patiently
from cht_sync.settings import COUCHDB_CONN_ID

T = TypeVar("T")
# What a server may take to end a long poll.
OVERDUE_S = 10.0


class CouchDBHook(BaseHook):
    """Reads from one CouchDB server through a pooled HTTP session.

    The connection is of type ``http``; its ``schema`` is ``http`` or ``https``. Its extra may hold ``auth``
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
        """The Airflow connection, or the one made of ``COUCHDB_*``.

        :raises SettingsError: if it is missing or a variable cannot be used.
        """
        return couchdb_connection(self.conn_id)

    @cached_property
    def url(self) -> str:
        """The address of the server, without credentials and without a slash at the end.

        :raises SettingsError: if the connection has no host or a scheme other than http and https.
        """
        connection = self.connection
        host = (connection.host or "").strip()
        parts = urlsplit(host if "//" in host else f"//{host}")
        if "@" in parts.netloc:
            raise SettingsError(
                f"Connection {self.conn_id!r} has a user or a password in its host: move them to login and password,"
                " or to COUCHDB_USER and COUCHDB_PASSWORD."
            )
        scheme = parts.scheme or (connection.schema or "http").lower()
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
        return transport.new_session(self.url, connection, cookie=auth == "session")

    # --- requests ------------------------------------------------------------------------------

    def patiently(self, call: Callable[[], T]) -> T:
        """Calls again and again while CouchDB fails in ways that may pass, until ``tolerance`` is over.

        :param call: what to call.
        :return: what the call returned.
        :raises CouchDBError: the last failure, as one sentence.
        """
        return patiently(call, lambda error: isinstance(error, CouchDBError), self.tolerance, self.log)

    def _prepared(self, method: str, path: str, subject: str, **options: Any) -> transport.Request:
        return transport.Request(
            session=self._session,
            method=method,
            url=self.url + path,
            subject=subject,
            conn_id=self.conn_id,
            timeouts=self.timeouts,
            most_bytes=options.pop("most_bytes", None),
            sink=options.pop("sink", None),
            options=options,
        )

    def _request(self, method: str, path: str, subject: str, **options: Any) -> bytes | bytearray:
        return self.patiently(self._prepared(method, path, subject, **options).send)

    def _decoded(self, struct: type, path: str, subject: str, method: str = "GET", **options: Any) -> Any:
        body = self._request(method, path, subject, **options)
        try:
            return msgspec.json.decode(body, type=struct)
        except msgspec.DecodeError as error:
            raise CouchDBError(f"{self.url}{path} did not answer as CouchDB does: {error}.") from error

    def server(self) -> ServerInfo:
        """Version and vendor of the server.

        :raises CouchDBError: if it cannot be reached or is no CouchDB.
        """
        return self._decoded(ServerInfo, "/", "the server")

    def database(self, name: str) -> DatabaseInfo:
        """Counts of one database and when it was created.

        :param name: name of the database.
        :raises SettingsError: if it does not exist or may not be read.
        """
        return self._decoded(DatabaseInfo, f"/{quote(name, safe='')}", f"database {name!r}")

    def all_databases(self) -> list[str]:
        """Names of all databases of the server.

        :raises SettingsError: if the user may not list them.
        """
        return self._decoded(list[str], "/_all_dbs", "the list of databases")

    def changes(
        self, database: str, since: str | None, limit: int, most_bytes: int = 64 * MEGABYTE, bodies: bool = True
    ) -> Page:
        """One page of the changes feed, asked for once: whoever calls decides what to ask for after a failure.

        :param database: name of the database.
        :param since: the opaque checkpoint to go on from; None for the beginning.
        :param limit: changes at most, at least 1 (``limit=0`` means one row on some servers).
        :param most_bytes: bytes to read into memory at most, default 64 MB.
        :param bodies: whether the documents come along, default true.
        :return: the page, complete.
        :raises PageTooLargeError: if the page exceeds ``most_bytes``.
        :raises SettingsError: if the database does not exist or may not be read.
        :raises CouchDBError: if no complete page came; as BrokenAnswerError if a smaller one may come.
            Source: https://docs.couchdb.org/en/stable/api/database/changes.html
        """
        request = self._prepared(
            "GET",
            f"/{quote(database, safe='')}/_changes",
            f"database {database!r}",
            most_bytes=most_bytes,
            params={
                "include_docs": "true" if bodies else "false",
                "limit": limit,
                # One seq a page is all we keep; computing one for each row costs a cluster a quarter of the walk.
                "seq_interval": limit,
                "since": since or "0",
            },
        )
        return decode_page(request.send())

    def has_changes(self, database: str, since: str | None, seconds: float) -> bool:
        """Waits for a change beyond a checkpoint, with one request.

        :param database: name of the database.
        :param since: the opaque checkpoint; None for the beginning.
        :param seconds: how long the server is to wait at most.
        :return: whether there is one.
        :raises CouchDBError: if it did not answer or did not end its answer in time; as SettingsError if it refused.
            Source: https://docs.couchdb.org/en/stable/api/database/changes.html#long-polling
        """
        request = self._prepared(
            "GET",
            f"/{quote(database, safe='')}/_changes",
            f"database {database!r}",
            most_bytes=MEGABYTE,
            params={"feed": "longpoll", "since": since or "0", "limit": 1, "timeout": int(seconds * 1000)},
        )
        # The server may say nothing until the time is over; behind that the connection is given up.
        request = replace(request, timeouts=(self.timeouts[0], seconds + OVERDUE_S))
        return bool(decode_page(request.send()).results)

    def changes_of(self, database: str, ids: list[str]) -> Page:
        """The newest states of some documents as the changes feed has them, byte by byte.

        :param database: name of the database.
        :param ids: of the documents.
        :raises CouchDBError: if no complete page came.
            Source: https://docs.couchdb.org/en/stable/api/database/changes.html#post--db-_changes
        """
        request = self._prepared(
            "POST",
            f"/{quote(database, safe='')}/_changes",
            f"database {database!r}",
            params={"filter": "_doc_ids", "include_docs": "true"},
            json={"doc_ids": ids},
        )
        return decode_page(request.send())

    def newest_seq(self, database: str) -> str:
        """Where the changes feed stands now.

        :param database: name of the database.
        :return: the opaque seq.
        :raises CouchDBError: if it did not answer within the tolerance.
            Source: https://docs.couchdb.org/en/stable/api/database/changes.html
        """
        return self.patiently(lambda: self.changes(database, "now", 1, bodies=False)).checkpoint

    def states(
        self, database: str, ids: list[str], bodies: bool = False, most_bytes: int | None = None
    ) -> list[Change]:
        """The winning revision of documents by id.

        :param database: name of the database.
        :param ids: the ids wanted.
        :param bodies: whether the documents come along, where they are not deleted; default false.
        :param most_bytes: bytes to read into memory at most; any number by default.
        :return: a change for each id, in the order of ``ids``; without a revision where the server does not know it.
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
        :raises CouchDBError: if it did not answer within the tolerance.
            Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_all_docs
        """
        params = {"include_docs": "true"} if bodies else {}
        found = self._all_docs("POST", database, most_bytes, params=params, json={"keys": ids})
        if [each.id for each in found] != ids:
            raise CouchDBError(f"{self.url}/{database}/_all_docs answered for other documents than it was asked for.")
        return found

    def listing(
        self,
        database: str,
        keys: tuple[str | None, str | None],
        limit: int,
        *,
        skip: int = 0,
        bodies: bool = False,
        most_bytes: int | None = None,
        patient: bool = True,
    ) -> list[Change]:
        """Documents that are not deleted, in the server's own order of ids, which nobody else should try to know.

        :param database: name of the database.
        :param keys: ``_id`` to begin with, and the one to end before; None for the begin and the end of all.
        :param limit: documents at most.
        :param skip: documents to leave out at the beginning, default none.
        :param bodies: whether the documents come along, default false.
        :param most_bytes: bytes to read into memory at most; any number by default.
        :param patient: whether to try again what fails in ways that may pass, default true.
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
        :raises CouchDBError: if it did not answer; as BrokenAnswerError if a smaller piece may come.
            Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#get--db-_all_docs
        """
        start, end = keys
        params: dict[str, Any] = {"limit": limit}
        params |= {"skip": skip} if skip else {}
        params |= {"include_docs": "true"} if bodies else {}
        params |= {"startkey": json.dumps(start)} if start is not None else {}
        params |= {"endkey": json.dumps(end), "inclusive_end": "false"} if end is not None else {}
        return self._all_docs("GET", database, most_bytes, patient, params=params)

    def _all_docs(
        self, method: str, database: str, most_bytes: int | None, patient: bool = True, **options: Any
    ) -> list[Change]:
        path = f"/{quote(database, safe='')}/_all_docs"
        request = self._prepared(method, path, f"database {database!r}", most_bytes=most_bytes, **options)

        def once() -> list[Change]:
            body = request.send()
            try:
                return decode_rows(body)
            except ValueError:
                # A listing that breaks off came with status 200: it counts only when it is whole.
                raise BrokenAnswerError(f"{self.url}{path} did not answer as CouchDB does.") from None

        return self.patiently(once) if patient else once()

    def revisions(self, database: str, changes: list[Change], most_bytes: int) -> dict[str, bytes]:
        """Bodies of the revisions that changes name, deleted ones too, with one request.

        :param database: name of the database.
        :param changes: documents, each with its revision.
        :param most_bytes: bytes to read into memory at most.
        :return: body by ``_id``, of those that the server hands out this way; whoever takes one looks whose it is.
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
        :raises CouchDBError: if no complete answer came; as SettingsError if the server refuses the request.
            Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_bulk_get
        """
        path = f"/{quote(database, safe='')}/_bulk_get"
        wanted = [{"id": each.id, "rev": each.rev} for each in changes]
        subject = f"documents of database {database!r}"
        body = self._prepared("POST", path, subject, most_bytes=most_bytes, json={"docs": wanted}).send()
        try:
            results = msgspec.json.decode(body, type=BulkGet).results
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BrokenAnswerError(f"{self.url}{path} did not answer as CouchDB does.") from None
        return {each.id: bytes(leaf.ok) for each in results for leaf in each.docs[:1] if len(leaf.ok)}

    def purged(self, database: str) -> list[str]:
        """Ids of documents that were purged of late, in whole or in part, where the server tells.

        :param database: name of the database.
        :return: the ids; none where the server does not know the question or the user may not ask.
            Source: https://docs.couchdb.org/en/stable/api/database/misc.html#get--db-_purged_infos
        """
        try:
            answer = self._decoded(
                dict[str, list[PurgedInfo]], f"/{quote(database, safe='')}/_purged_infos", f"purges of {database!r}"
            )
        except (RequestRefusedError, CouchDBError) as error:
            self.log.info("Purges cannot be asked for (%s).", error)
            return []
        return list(dict.fromkeys(info.id for info in answer.get("purged_infos", [])))

    def body(self, database: str, change: Change, sink: IO[bytes]) -> None:
        """Writes one document to a file as it comes, whatever its size.

        :param database: name of the database.
        :param change: names document and revision.
        :param sink: takes the bytes.
        :raises NotHandedOutError: if the server refuses this document.
        :raises CouchDBError: if it fails otherwise; as BrokenAnswerError if it broke off.
            Source: https://docs.couchdb.org/en/stable/api/document/common.html#get--db-docid
        """
        if change.id in {".", ".."}:
            raise NotHandedOutError(f"No address leads to a document whose _id is {change.id!r}.")
        # Not _bulk_get: it answers with every leaf, and would wrap the bytes.
        name = quote(change.id.encode("utf-8", "surrogatepass"), safe="")
        try:
            self._request(
                "GET",
                f"/{quote(database, safe='')}/{name}",
                f"a document of database {database!r}",
                sink=sink,
                params={"rev": change.rev} if change.rev else {},
            )
        except RequestRefusedError as error:
            if error.status in {401, 403}:
                raise
            raise NotHandedOutError(str(error)) from None

    def test_connection(self) -> tuple[bool, str]:
        """Whether server and credentials work, and a sentence for the person who asks."""
        try:
            self.server()
            # Anyone may read GET /; signing in tells whether the credentials are good, however they are sent later.
            form = {"name": self.connection.login, "password": self.connection.password}
            self._request("POST", "/_session", "the session", data=form)
        except (SettingsError, CouchDBError) as error:
            return False, str(error)
        return True, f"CouchDB answers at {self.url}."
