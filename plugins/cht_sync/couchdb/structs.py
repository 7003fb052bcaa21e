"""What CouchDB answers, as typed structs; document bodies stay the bytes that came."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import IO

import msgspec

NOTHING = msgspec.Raw(b"")
# Where a page is no part of the changes feed.
NO_SEQ = msgspec.Raw(b"null")


class Revision(msgspec.Struct):
    """One leaf of a document's revision tree, as a row of the changes feed names it."""

    rev: str


class Change(msgspec.Struct):
    """One row of a changes feed: the newest state of one document.

    Source: https://docs.couchdb.org/en/stable/api/database/changes.html
    """

    id: str
    changes: list[Revision] = []
    deleted: bool = False
    doc: msgspec.Raw = NOTHING
    error: msgspec.Raw = NOTHING

    @property
    def has_document(self) -> bool:
        """Whether the body came along; with ``include_docs`` a server may still answer ``null`` or an error."""
        size = len(self.doc)  # asked of each row of the feed: most are told by their length alone
        return size > len(b"null") or (size > 0 and bytes(self.doc) != b"null")

    @property
    def rev(self) -> str | None:
        """The winning revision."""
        return self.changes[0].rev if self.changes else None


@dataclass(slots=True)
class Refused:
    """The newest state of a document that cannot become a row, and why.

    :param reason: one sentence; never content of the document.
    :param sqlstate: what Postgres said, where it was Postgres.
    :param body: the document as it came, in memory or as a file; empty where the server did not hand it out.
    """

    change: Change
    reason: str
    sqlstate: str | None = None
    body: bytes | IO[bytes] = b""


@dataclass(slots=True)
class Page:
    """A complete answer of ``_changes``.

    :param pending: changes after this page; None on PouchDB servers and CouchDB 1.x.
    :param refused: documents of the page that could not be read into ``results``.
    """

    results: list[Change]
    last_seq: msgspec.Raw
    pending: int | None = None
    size: int = 0
    refused: list[Refused] = field(default_factory=list)

    @property
    def checkpoint(self) -> str:
        """The seq to go on from, opaque: a JSON text without its quotes, or any other JSON as it came."""
        raw = bytes(self.last_seq)
        return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()

    @property
    def is_last(self) -> bool:
        """Whether this page is the last; an empty one says so only where the server does not count what is pending."""
        return not (self.results or self.refused) if self.pending is None else self.pending <= 0


class ServerInfo(msgspec.Struct):
    """The answer of ``GET /``; only CouchDB itself greets as ``couchdb``."""

    couchdb: str = ""
    version: str = ""
    vendor: dict[str, msgspec.Raw] = {}


class Copies(msgspec.Struct):
    """How a database is spread over a cluster: ``n`` copies of each document."""

    n: int | None = None


class DatabaseInfo(msgspec.Struct):
    """The answer of ``GET /{db}``: what of it this project reads.

    Source: https://docs.couchdb.org/en/stable/api/database/common.html
    """

    db_name: str
    doc_count: int = 0
    doc_del_count: int | None = None
    instance_start_time: str = "0"
    update_seq: msgspec.Raw = NOTHING
    cluster: Copies | None = None

    @property
    def has_one_copy(self) -> bool:
        """Whether the server keeps each document once, so that no copy can lag behind another.

        A seq that is a plain number is of a server without a cluster: CouchDB 1.x, PouchDB.
        """
        return self.cluster.n == 1 if self.cluster else bytes(self.update_seq).isdigit()


class PurgedInfo(msgspec.Struct):
    """A document of which revisions were purged."""

    id: str


class PurgedInfos(msgspec.Struct):
    """The answer of ``_purged_infos``.

    Source: https://docs.couchdb.org/en/stable/api/database/misc.html#get--db-_purged_infos
    """

    purged_infos: list[PurgedInfo] = []


class Leaf(msgspec.Struct):
    """One revision that ``_bulk_get`` hands out; the body stays the bytes that came."""

    ok: msgspec.Raw = NOTHING


class BulkGetResult(msgspec.Struct):
    """What ``_bulk_get`` has of one document."""

    id: str
    docs: list[Leaf] = []


class BulkGet(msgspec.Struct):
    """The answer of ``_bulk_get``.

    Source: https://docs.couchdb.org/en/stable/api/database/bulk-api.html#post--db-_bulk_get
    """

    results: list[BulkGetResult] = []


class Revisions(msgspec.Struct):
    """Where a revision comes from, the newest hash first."""

    start: int
    ids: list[str]


class Failure(msgspec.Struct):
    """Why ``_bulk_get`` does not hand a document out."""

    error: str = ""


class TreeEnd(msgspec.Struct):
    """One end of a document's revision tree, as ``_bulk_get`` tells of it with ``revs=true``."""

    rev: str = msgspec.field(name="_rev", default="")
    deleted: bool = msgspec.field(name="_deleted", default=False)
    revisions: Revisions | None = msgspec.field(name="_revisions", default=None)


class TreeLeaf(msgspec.Struct):
    """An end, or why there is none."""

    ok: TreeEnd | None = None
    error: Failure | None = None


class Tree(msgspec.Struct):
    """All ends of one document's tree."""

    id: str
    docs: list[TreeLeaf] = []


class Trees(msgspec.Struct):
    """The answer of ``_bulk_get`` with ``revs=true``."""

    results: list[Tree] = []
