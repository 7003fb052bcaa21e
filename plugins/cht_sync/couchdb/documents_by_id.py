"""Hands out single documents by ``_id`` and revision, whatever the ``_id`` holds and however large they are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from tempfile import SpooledTemporaryFile
from typing import IO, Any
from urllib.parse import quote

import msgspec

from cht_sync.common.units import MEGABYTE
from cht_sync.couchdb.odd_json import STRING, require_readable
from cht_sync.couchdb.refusals import is_unreachable, node_down
from cht_sync.couchdb.request import LARGEST_DOCUMENT, Request
from cht_sync.couchdb.revisions import Leaf
from cht_sync.couchdb.session import CouchDBSession
from cht_sync.couchdb.structs import BulkGet, Change, Tree, Trees
from cht_sync.errors import BrokenAnswerError, NotHandedOutError, RequestRefusedError

# CouchDB and proxies take 8 kB for all of the first line of a request.
LONGEST_ADDRESS = 4000
IN_MEMORY = 8 * MEGABYTE
PIECE = 256 * 1024
# Bytes at either end of an answer that tell what it is, where the ``_id`` is short.
FEW = 4096
# An answer of _bulk_get to one question: what stands before the document, and behind it.
_HEAD = re.compile(
    rb'\s*\{\s*"results"\s*:\s*\[\s*\{\s*(?:"id"\s*:\s*' + STRING + rb'\s*,\s*)?"docs"\s*:\s*\[\s*\{\s*"ok"\s*:\s*',
    re.DOTALL,
)
_TAIL = re.compile(rb'\s*\}\s*\](?:\s*,\s*"id"\s*:\s*' + STRING + rb")?\s*\}\s*\]\s*\}\s*\Z", re.DOTALL)
# What CouchDB says of a document for good, one by one; anything else may pass.
_FINAL = {"", "not_found", "illegal_docid", "bad_request", "forbidden", "unauthorized"}


class DocumentsById(CouchDBSession):
    """Asks a CouchDB server for single documents; its parameters are those of :class:`CouchDBSession`."""

    def revisions(self, database: str, changes: list[Change], most_bytes: int) -> dict[str, bytes]:
        """Bodies of the revisions that changes name, deleted ones too, with one request.

        :return: body by ``_id``, of those that the server hands out this way; whoever takes one looks whose it is.
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
        :raises CouchDBError: if no complete answer came; as SettingsError if the server refuses the request.
            Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_bulk_get
        """
        wanted = [{"id": each.id, "rev": each.rev} for each in changes]
        request = self._bulk_get(database, wanted, most_bytes=most_bytes)
        results = _results(request.send(), BulkGet, request)
        return {each.id: bytes(leaf.ok) for each in results for leaf in each.docs[:1] if len(leaf.ok)}

    def leaves(self, database: str, ids: list[str], most_bytes: int) -> dict[str, list[Leaf]]:
        """The ends of the revision trees of documents, of each document from one answer.

        :return: by ``_id``; an empty list where the server knows no such document. One is left out where the server
            does not say.
        :raises PageTooLargeError: if the answer exceeds ``most_bytes``.
        :raises CouchDBError: if no complete answer came; as SettingsError if the server refuses the request.
            Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_bulk_get
        """
        wanted = [{"id": each} for each in ids]
        request = self._bulk_get(database, wanted, most_bytes=most_bytes, params={"revs": "true"})
        results = _results(self.patiently(request.send), Trees, request)
        return {tree.id: found for tree in results if (found := _leaves(tree)) is not None}

    def _bulk_get(self, database: str, wanted: list[dict[str, Any]], **options: Any) -> Request:
        options.setdefault("subject", f"documents of database {database!r}")
        return self._of_database("POST", database, "_bulk_get", json={"docs": wanted}, **options)

    def body(self, database: str, change: Change, sink: IO[bytes]) -> None:
        """Writes one document to a file as it comes, byte by byte, whatever its size.

        By its address, where it has one that servers take; by ``_bulk_get`` where it has none, and where something
        between here and CouchDB reads the address otherwise.

        :raises NotHandedOutError: if the server refuses this document.
        :raises CouchDBError: if it fails otherwise; as BrokenAnswerError if it broke off.
            Source: https://docs.couchdb.org/en/stable/api/document/common.html#get--db-docid
        """
        address, why = address_of(change.id), "No address leads to a document of such an _id."
        if address:
            try:
                return self._by_address(database, address, change, sink)
            except NotHandedOutError as refusal:
                why = str(refusal)
        # Not within the handling of the refusal, which would look like the cause of what fails here.
        if not change.rev:
            raise NotHandedOutError(why)
        if refused := self._by_question(database, change, sink, why):
            raise refused
        return None

    def attachment(
        self, database: str, document: tuple[str, str], name: str, most_bytes: int, seconds: float
    ) -> bytes | bytearray:
        """An XML attachment of a revision of a document, asked for once.

        :param document: ``_id`` and revision.
        :param seconds: in which the server has to begin to answer, and each 256 KB to come.
        :raises RequestRefusedError: if the server refuses it.
        :raises PageTooLargeError: if it exceeds ``most_bytes``.
        :raises CouchDBError: if it failed otherwise.
            Source: https://docs.couchdb.org/en/stable/api/document/attachments.html#get--db-docid-attname
        """
        id_, rev = document
        address = address_of(id_)
        if address is None:
            raise NotHandedOutError("No address leads to a document of such an _id.")
        request = self._of_database(
            "GET", database, f"{address}/{quote(name, safe='')}",
            subject=f"an attachment of database {database!r}", most_bytes=most_bytes, params={"rev": rev},
            headers={"Accept": "*/*"},
        )  # fmt: skip
        connect, read = self.timeouts
        request = replace(
            request, timeouts=(min(connect, seconds), min(read, seconds)), patience=seconds, is_markup=True
        )
        return request.send()

    def _by_address(self, database: str, address: str, change: Change, sink: IO[bytes]) -> None:
        subject = f"a document of database {database!r}"
        request = self._of_database(
            "GET", database, address,
            subject=subject, sink=sink, bound=LARGEST_DOCUMENT, params={"rev": change.rev} if change.rev else {},
        )  # fmt: skip

        def once() -> None:
            request.send()
            self._check_whole(sink, subject)

        try:
            self.patiently(once)
        except RequestRefusedError as error:
            if error.status in {401, 403} or _is_gone(error):
                raise
            raise NotHandedOutError(str(error)) from None

    def _check_whole(self, sink: IO[bytes], subject: str) -> None:
        """Tells a document from what servers and proxies send with status 200 where they fail on the way."""
        size = sink.seek(0, 2)
        sink.seek(0)
        first = sink.read(FEW)
        sink.seek(max(0, size - FEW))
        last = sink.read().rstrip()
        sink.seek(0, 2)
        if not last or (first.lstrip().startswith(b"{") and not last.endswith(b"}")):
            raise BrokenAnswerError(f"{self.url} did not finish its answer to {subject}.")
        if size < FEW and b'"_id"' not in first and (said := _error_of(first)):
            if is_unreachable(200, said):
                raise node_down(f"{self.url} did not answer", said)
            raise BrokenAnswerError(f"{self.url} did not answer ({said}) to {subject}.")

    def _by_question(self, database: str, change: Change, sink: IO[bytes], refusal: str) -> NotHandedOutError | None:
        """Asks for the document with a request that has its ``_id`` in the body; says why it does not come."""
        wanted = [{"id": change.id, "rev": change.rev}]
        with SpooledTemporaryFile(IN_MEMORY) as answer:
            subject = f"a document of database {database!r}"
            request = self._bulk_get(database, wanted, subject=subject, sink=answer, bound=LARGEST_DOCUMENT)

            def once() -> NotHandedOutError | None:
                request.send()
                return self._unwrap(answer, sink, change.id, refusal)

            try:
                return self.patiently(once)
            except RequestRefusedError as error:
                if error.status == 401 or _is_gone(error):
                    raise
                return NotHandedOutError(f"{refusal} {error}")

    def _unwrap(self, answer: IO[bytes], sink: IO[bytes], name: str, refusal: str) -> NotHandedOutError | None:
        """Copies the document out of an answer of ``_bulk_get``, of which only both ends are looked at."""
        size = answer.seek(0, 2)
        # Each character may have come as twelve, an escaped pair of surrogates.
        few = FEW + 12 * len(name)
        answer.seek(0)
        first = answer.read(few)
        answer.seek(max(0, size - few))
        head, tail = _HEAD.match(first), _TAIL.search(answer.read())
        if head is None:
            return self._not_there(first, size, refusal)
        if tail is None:
            raise BrokenAnswerError(f"{self.url} did not finish its answer to _bulk_get.")
        answer.seek(head.end())
        rest = max(0, size - few) + tail.start() - head.end()
        sink.seek(0)
        sink.truncate()
        while rest > 0 and (piece := answer.read(min(PIECE, rest))):
            sink.write(piece)
            rest -= len(piece)
        return None

    def _not_there(self, answer: bytes, size: int, refusal: str) -> NotHandedOutError:
        """What an answer of ``_bulk_get`` without a document says."""
        try:
            results = json.loads(answer)["results"]
            leaf = results[0]["docs"][0] if results and results[0]["docs"] else {}
            error = leaf.get("error") or {}
            error = error if isinstance(error, dict) else {"error": error, "reason": leaf.get("reason")}
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise BrokenAnswerError(f"{self.url} did not answer _bulk_get as CouchDB does ({size} bytes).") from None
        kind, said = str(error.get("error") or ""), _in_words(error)
        if is_unreachable(200, said):
            raise node_down(f"{self.url} did not hand out a document", said)
        if kind not in _FINAL:
            raise BrokenAnswerError(f"{self.url} did not hand out a document ({said}).")
        return NotHandedOutError(f"{refusal} By _bulk_get it does not come either ({said or 'missing'}).")


def _results(body: bytes | bytearray, struct: type, request: Request) -> list[Any]:
    try:
        require_readable(body)
        return msgspec.json.decode(body, type=struct).results
    except (ValueError, RecursionError):
        raise BrokenAnswerError(f"{request.url} did not answer as CouchDB does.") from None


def address_of(name: str) -> str | None:
    """The part of an address that leads to a document; None where there is none that servers take."""
    kind, _, rest = name.partition("/")
    if name.startswith("_") and (kind != "_design" or not rest):
        return None  # what such an address leads to is no document
    # The slash of a design document stands as it is: CouchDB answers an escaped one with the way there.
    first, last = ("_design/", rest) if kind == "_design" else ("", name)
    if last in {".", ".."}:
        return None  # parts of a path that HTTP clients take out
    address = first + quote(last.encode("utf-8", "surrogatepass"), safe="")
    return address if len(address) <= LONGEST_ADDRESS else None


def _is_gone(error: RequestRefusedError) -> bool:
    """Whether a refusal is about the database, of which nothing can be had then, and not about a document."""
    return error.status == 404 and error.said.rstrip(".") in {"Database does not exist", "no_db_file"}


def _error_of(body: bytes) -> str:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    return _in_words(found) if isinstance(found, dict) and found.keys() >= {"error", "reason"} else ""


def _in_words(error: dict[str, Any]) -> str:
    """Error and reason in CouchDB's words, without the ``_id``."""
    words = (str(error[each]) for each in ("error", "reason") if error.get(each))
    return " ".join(": ".join(words)[:200].split())


def _leaves(tree: Tree) -> list[Leaf] | None:
    """None where the server does not say."""
    leaves = []
    for leaf in tree.docs:
        if leaf.ok is None:
            if leaf.error and leaf.error.error == "not_found" and len(tree.docs) == 1:
                return []
            return None
        start, hashes = (leaf.ok.revisions.start, leaf.ok.revisions.ids) if leaf.ok.revisions else (0, [])
        ancestors = frozenset(f"{start - number}-{each}" for number, each in enumerate(hashes))
        leaves.append(Leaf(leaf.ok.rev, leaf.ok.deleted, ancestors | {leaf.ok.rev}))
    return leaves or None
