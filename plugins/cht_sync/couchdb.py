"""The hook that speaks HTTP with CouchDB; it knows nothing of Postgres."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import IO, Any
from urllib.parse import quote

import msgspec

from cht_sync.all_docs import decode_rows
from cht_sync.couchdb_session import CouchDBSession
from cht_sync.errors import BrokenAnswerError, CouchDBError, NotHandedOutError, RequestRefusedError, SettingsError
from cht_sync.page import MEGABYTE, BulkGet, Change, DatabaseInfo, Page, PurgedInfo, ServerInfo, Tree, Trees
from cht_sync.page_decoder import decode_page
from cht_sync.revisions import Leaf as RevisionLeaf

# What a server may take to end a long poll.
OVERDUE_S = 10.0


class CouchDBHook(CouchDBSession):
    """Reads databases of one CouchDB server; see :class:`CouchDBSession` for the connection and the parameters."""

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

    def leaves(self, database: str, ids: list[str], most_bytes: int) -> dict[str, list[RevisionLeaf]]:
        """The ends of the revision trees of documents, of each document from one answer.

        :param database: name of the database.
        :param ids: of the documents.
        :param most_bytes: bytes to read into memory at most.
        :return: by ``_id``; an empty list where the server knows no such document. One is left out where the server
            does not say.
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
        :raises CouchDBError: if no complete answer came; as SettingsError if the server refuses the request.
            Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_bulk_get
        """
        path = f"/{quote(database, safe='')}/_bulk_get"
        request = self._prepared(
            "POST", path, f"documents of database {database!r}", most_bytes=most_bytes,
            params={"revs": "true"}, json={"docs": [{"id": each} for each in ids]},
        )  # fmt: skip
        body = self.patiently(request.send)
        try:
            results = msgspec.json.decode(body, type=Trees).results
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise BrokenAnswerError(f"{self.url}{path} did not answer as CouchDB does.") from None
        return {tree.id: found for tree in results if (found := _leaves(tree)) is not None}

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


def _leaves(tree: Tree) -> list[RevisionLeaf] | None:
    """None where the server does not say."""
    leaves = []
    for leaf in tree.docs:
        if leaf.ok is None:
            if leaf.error and leaf.error.error == "not_found" and len(tree.docs) == 1:
                return []
            return None
        start, hashes = (leaf.ok.revisions.start, leaf.ok.revisions.ids) if leaf.ok.revisions else (0, [])
        ancestors = frozenset(f"{start - number}-{each}" for number, each in enumerate(hashes))
        leaves.append(RevisionLeaf(leaf.ok.rev, leaf.ok.deleted, ancestors | {leaf.ok.rev}))
    return leaves or None
