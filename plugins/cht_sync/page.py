"""What CouchDB answers, as typed structs; document bodies stay the bytes that came."""

from __future__ import annotations

import msgspec

from cht_sync.errors import CouchDBError, SettingsError

MEGABYTE = 1024 * 1024
NOTHING = msgspec.Raw(b"")


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

    @property
    def has_document(self) -> bool:
        """Whether the body came along; with ``include_docs`` a server may still answer ``null`` or an error."""
        return len(self.doc) > 0 and bytes(memoryview(self.doc)[:4]) != b"null"


class Page(msgspec.Struct):
    """A complete answer of ``_changes``; ``pending`` is missing on PouchDB servers and CouchDB 1.x."""

    results: list[Change]
    last_seq: msgspec.Raw
    pending: int | None = None
    size: int = 0

    @property
    def checkpoint(self) -> str:
        """The seq to go on from, opaque: a JSON text without its quotes, or any other JSON as it came."""
        raw = bytes(self.last_seq)
        return msgspec.json.decode(raw, type=str) if raw.startswith(b'"') else raw.decode()

    @property
    def is_last(self) -> bool:
        """Whether the feed held no more when this page was read.

        An empty page says so only where the server does not count what is pending.
        """
        return not self.results if self.pending is None else self.pending == 0


class ServerInfo(msgspec.Struct):
    """The answer of ``GET /``."""

    version: str = ""
    vendor: dict[str, msgspec.Raw] = {}


class DatabaseInfo(msgspec.Struct):
    """The answer of ``GET /{db}``: what of it this project reads.

    Source: https://docs.couchdb.org/en/stable/api/database/common.html
    """

    db_name: str
    doc_count: int = 0
    doc_del_count: int = 0
    instance_start_time: str = "0"


_PAGE = msgspec.json.Decoder(Page)


def decode_page(body: bytes) -> Page:
    """Reads one page of changes.

    :param body: the whole body of the answer.
    :return: the page, with document bodies that are views on ``body``.
    :raises SettingsError: if a document is nested deeper than can be read; another try would not help.
    :raises CouchDBError: if the JSON is cut off, is no page or holds an error object; CouchDB answers 200
        before it knows whether all goes well.
    """
    try:
        page = _PAGE.decode(body)
    except RecursionError:
        raise SettingsError(
            f"A document in a page of {len(body)} bytes is nested too deeply to be read: look for it in CouchDB and"
            " repair or delete it; the feed stops before it."
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Never the body itself: it holds documents, and this text goes to the logs.
        raise CouchDBError(f"CouchDB's answer is no complete page of changes ({error}; {len(body)} bytes).") from None
    page.size = len(body)
    return page
