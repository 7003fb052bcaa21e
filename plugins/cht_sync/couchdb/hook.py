"""The hook that speaks HTTP with CouchDB; it knows nothing of Postgres."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb import long_poll
from cht_sync.couchdb.decode import decode_page, decode_rows
from cht_sync.couchdb.documents_by_id import LONGEST_ADDRESS, DocumentsById
from cht_sync.couchdb.odd_json import OddRowError
from cht_sync.couchdb.request import SMALL
from cht_sync.couchdb.structs import Change, DatabaseInfo, Page, PurgedInfos, ServerInfo
from cht_sync.errors import (
    BrokenAnswerError,
    CouchDBError,
    NodeDownError,
    RequestRefusedError,
    SettingsError,
    UnreadableAnswerError,
)

# Before it CouchDB passed over keys in the body of a request, and listed from the beginning.
KEYS_IN_BODY = (3,)


class CouchDBHook(DocumentsById):
    """Reads databases of one CouchDB server; the parameters are those of ``CouchDBSession``."""

    def server(self) -> ServerInfo:
        """Version and vendor of the server."""
        return self._decoded(ServerInfo, "/", "the server", bound=SMALL)

    def version(self) -> tuple[int, ...]:
        """The first two numbers of CouchDB's version; none where nobody says, as where a proxy keeps ``/`` to itself.

        It is asked for once: a proxy that refuses ``/`` with 503, or closes the connection, does so for good, and a
        server that is down fails whatever is asked next.
        """
        try:
            body = self._prepared("GET", "/", "the server", bound=SMALL).send()
            server = msgspec.json.decode(body, type=ServerInfo)
        except (RequestRefusedError, CouchDBError) as error:
            self.log.info("The version of CouchDB is not known (%s).", error)
            return ()
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ()
        numbers = re.findall(r"\d+", server.version)[:2] if server.couchdb == "Welcome" else []
        return tuple(int(each) for each in numbers)

    def database(self, name: str) -> DatabaseInfo:
        """Counts of one database and when it was created.

        :raises SettingsError: if it does not exist or may not be read.
        """
        return self._decoded(DatabaseInfo, f"/{quote(name, safe='')}", f"database {name!r}", bound=SMALL)

    def changes(
        self, database: str, since: str | None, limit: int, most_bytes: int = 64 * MEGABYTE, bodies: bool = True
    ) -> Page:
        """One page of the changes feed, asked for once: whoever calls decides what to ask for after a failure.

        :param since: the opaque checkpoint to go on from; None for the beginning.
        :param limit: changes at most, at least 1 (``limit=0`` means one row on some servers).
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
        :raises SettingsError: if the database does not exist or may not be read.
        :raises CouchDBError: if no complete page came; as BrokenAnswerError if a smaller one may come.
            Source: https://docs.couchdb.org/en/stable/api/database/changes.html
        """
        params = {
            "include_docs": "true" if bodies else "false",
            "limit": limit,
            # One seq a page is all we keep; computing one for each row costs a cluster a quarter of the walk.
            "seq_interval": limit,
            "since": since or "0",
        }
        request = self._of_database("GET", database, "_changes", most_bytes=most_bytes, params=params)
        return decode_page(request.send())

    def has_changes(self, database: str, since: str | None, seconds: float) -> bool:
        """Waits for a change beyond a checkpoint, with one request.

        :raises CouchDBError: if it shows no sign of life; as SettingsError if it refused.
        """
        params = {"since": since or "0", "limit": 1}
        request = self._of_database("GET", database, "_changes", params=params, bound=SMALL)
        body = long_poll.wait(request, seconds)
        return body is not None and bool(decode_page(body).results)

    def changes_of(self, database: str, ids: list[str]) -> Page:
        """The newest states of some documents as the changes feed has them, byte by byte.

        Source: https://docs.couchdb.org/en/stable/api/database/changes.html#post--db-_changes
        """
        params = {"filter": "_doc_ids", "include_docs": "true"}
        return decode_page(self._of_database("POST", database, "_changes", params=params, json={"doc_ids": ids}).send())

    def newest_seq(self, database: str) -> str:
        """Where the changes feed stands now.

        Source: https://docs.couchdb.org/en/stable/api/database/changes.html
        """
        return self.patiently(lambda: self.changes(database, "now", 1, bodies=False)).checkpoint

    def states(
        self,
        database: str,
        ids: list[str],
        bodies: bool = False,
        most_bytes: int | None = None,
        patient: bool = True,
    ) -> list[Change]:
        """The winning revision of documents by id, in the order of ``ids``; no revision where the server knows none.

        :param bodies: whether the documents come along, where they are not deleted.
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
            Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_all_docs
        """
        params = {"include_docs": "true"} if bodies else {}
        found = self._all_docs("POST", database, most_bytes, patient, params=params, json={"keys": ids})
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

        :param keys: ``_id`` to begin with, and the one to end before; None for the begin and the end of all.
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
        :raises CouchDBError: if it did not answer; as BrokenAnswerError if a smaller piece may come.
            Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#get--db-_all_docs
        """
        start, end = keys
        params: dict[str, Any] = {"limit": limit}
        params |= {"skip": skip} if skip else {}
        params |= {"include_docs": "true"} if bodies else {}
        until = {"inclusive_end": "false"} if end is not None else {}
        bounds = {name: key for name, key in (("startkey", start), ("endkey", end)) if key is not None}
        in_address = {name: json.dumps(key) for name, key in bounds.items()}
        if len(urlencode(in_address)) <= LONGEST_ADDRESS:
            return self._all_docs("GET", database, most_bytes, patient, params=params | in_address | until)
        if () < self.version() < KEYS_IN_BODY:
            raise CouchDBError(
                f"{self.url} cannot list {database!r}, which holds an _id too long for an address: set"
                " CHT_FIRST_LOAD_THRESHOLD=0, or upgrade CouchDB to 3.0."
            )
        return self._all_docs("POST", database, most_bytes, patient, params=params | until, json=bounds)

    def _all_docs(
        self, method: str, database: str, most_bytes: int | None, patient: bool = True, **options: Any
    ) -> list[Change]:
        request = self._of_database(method, database, "_all_docs", most_bytes=most_bytes, **options)

        def once() -> list[Change]:
            body = request.send()
            try:
                return decode_rows(body)
            except OddRowError:
                raise UnreadableAnswerError(f"{request.url} lists something that cannot be read.") from None
            except ValueError:
                # A listing that breaks off came with status 200: it counts only when it is whole.
                raise BrokenAnswerError(f"{request.url} did not answer as CouchDB does.") from None

        return self.patiently(once) if patient else once()

    def purged(self, database: str) -> list[str]:
        """Ids of documents that were purged of late, in whole or in part; none where the user may not ask.

        :raises NodeDownError: if a part of a cluster cannot be reached.
            Source: https://docs.couchdb.org/en/stable/api/database/misc.html#get--db-_purged_infos
        """
        try:
            answer = self._decoded(PurgedInfos, f"/{quote(database, safe='')}/_purged_infos", f"purges of {database!r}")
        except NodeDownError:
            raise
        except (RequestRefusedError, CouchDBError) as error:
            self.log.info("Purges cannot be asked for (%s).", error)
            return []
        return list(dict.fromkeys(info.id for info in answer.purged_infos))

    def test_connection(self) -> tuple[bool, str]:
        """Whether server and credentials work, and a sentence for the person who asks."""
        try:
            self.version()
            # Anyone may read GET /; signing in tells whether the credentials are good, however they are sent later.
            form = {"name": self.connection.login, "password": self.connection.password}
            self._request("POST", "/_session", "the session", data=form, bound=SMALL)
        except RequestRefusedError as error:
            if error.status == 401:
                return False, str(error)
            # Something between lets databases through and nothing else: they are all that a sync needs.
            return True, f"A server answers at {self.url}; what user and password are good for, its databases tell."
        except (SettingsError, CouchDBError) as error:
            return False, str(error)
        return True, f"CouchDB answers at {self.url}."
