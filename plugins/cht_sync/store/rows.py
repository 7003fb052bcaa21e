"""Turns changes into rows of the table of documents, or says why one cannot become a row."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec
from psycopg2 import sql

from cht_sync.couchdb.document_ids import key_of
from cht_sync.couchdb.structs import Change, Refused
from cht_sync.store.json_text import USER_PREFIX, without_nul, without_password

# Binary COPY takes each body as it is, with nothing to escape.
# Source: https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.3.55.9.4
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = struct.pack(">h", -1)
_FIELDS = struct.Struct(">h")
_SIZE = struct.Struct(">i")
# Microseconds since 2000, as Postgres holds a timestamp without time zone.
_STAMP_FIELD = struct.Struct(">iq")
_EPOCH = datetime(2000, 1, 1)
_FLAG_AND_DOC = struct.Struct(">ibiB")
_JSONB_VERSION = 1
# What :func:`stub_of` makes, of a row, and whether more than that is stored of a deleted document.
_STUB = "jsonb_build_object('_id', _id, '_rev', doc->'_rev', '_deleted', true)"
STUB_SQL = {"stub": sql.SQL(_STUB), "is_whole": sql.SQL(f"_deleted and doc is distinct from {_STUB}")}
PIECE = 256 * 1024


@dataclass(slots=True)
class Row:
    """What is to be stored of one document.

    :param body: JSON text that ``jsonb`` takes, as far as we can tell; a view on the page where it is unchanged.
    :param altered: whether U+0000 was taken out of it.
    """

    change: Change
    key: bytes
    body: memoryview
    altered: bool = False


def rows_of(changes: Iterable[Change], tombstone_bodies: bool = False) -> tuple[list[Row], list[Refused]]:
    """Rows to store, and documents that cannot become rows.

    :param changes: from the feed; where a document comes twice, the later one counts.
    :param tombstone_bodies: whether deleted documents become rows with all their fields; by default stubs.
    """
    rows: dict[str, Row | Refused] = {}
    for change in changes:
        # Taken out first, so that the order is that of the last states.
        rows.pop(change.id, None)
        try:
            bare = change.deleted and not tombstone_bodies
            body, altered = (stub_of(change), False) if bare else _body(change)
            rows[change.id] = Row(change, key_of(change.id), memoryview(body), altered)
        except ValueError as error:
            rows[change.id] = Refused(change, f"{str(error)[:1].upper()}{str(error)[1:]}.", body=bytes(change.doc))
    found = rows.values()
    return [each for each in found if isinstance(each, Row)], [each for each in found if isinstance(each, Refused)]


def stub(change: Change) -> Row | None:
    """The tombstone of a document that left nothing else behind; None where its ``_id`` cannot be stored."""
    try:
        return Row(change, key_of(change.id), memoryview(stub_of(change)))
    except ValueError:
        return None


def _body(change: Change) -> tuple[bytes | msgspec.Raw, bool]:
    """The JSON text to store, and whether U+0000 was taken out of it."""
    if not change.has_document:
        if not change.deleted:
            raise ValueError("the change came without its document")
        return stub_of(change), False
    body = bytes(change.doc)
    if not body.startswith(b"{"):
        raise ValueError("the document is no JSON object")
    if change.id.startswith(USER_PREFIX):
        body = without_password(body)
        stripped = without_nul(body)
        return stripped, len(stripped) < len(body)
    stripped = without_nul(body)
    # Not the copy: the page is in memory already.
    return (change.doc, False) if stripped is body else (stripped, len(stripped) < len(body))


def stub_of(change: Change) -> bytes:
    """All that is left of a deleted document, as JSON text, also where its ``_id`` cannot be stored."""
    return json.dumps({"_id": change.id, "_rev": change.rev, "_deleted": True}).encode()


class CopyStream(io.RawIOBase):
    """Rows in the binary format of COPY, as a file that hands out pieces of up to 512 KB.

    :param rows: to be copied as (_id, _deleted, doc).
    :param before: fields that come first and are the same in all rows, as :func:`stamped` gives them; default none.
    """

    def __init__(self, rows: list[Row], before: tuple[int, bytes] = (0, b"")) -> None:
        super().__init__()
        self._pieces = _pieces(rows, *before)

    def read(self, size: int = -1) -> bytes:  # noqa: ARG002
        """The next piece: psycopg2 passes on what it gets."""
        return next(self._pieces, b"")


def stamped(stamp: datetime, source: str) -> tuple[int, bytes]:
    """The fields (saved_timestamp, source) in the binary format of COPY: how many, and their bytes."""
    name = source.encode()
    return 2, _STAMP_FIELD.pack(8, (stamp - _EPOCH) // timedelta(microseconds=1)) + _SIZE.pack(len(name)) + name


def _pieces(rows: list[Row], fields_before: int, before: bytes) -> Iterator[bytes]:
    """No piece is empty: to psycopg2 that would be the end."""
    head = _FIELDS.pack(fields_before + 3) + before
    parts: list[bytes | memoryview] = [_COPY_HEADER]
    filled = 0
    for row in rows:
        size = len(row.body)
        parts += (
            head,
            _SIZE.pack(len(row.key)),
            row.key,
            _FLAG_AND_DOC.pack(1, row.change.deleted, size + 1, _JSONB_VERSION),
        )
        for start in range(0, size, PIECE):
            piece = row.body[start : start + PIECE]
            parts.append(piece)
            filled += len(piece)
            if filled >= PIECE:
                yield b"".join(parts)
                parts, filled = [], 0
    parts.append(_COPY_END)
    yield b"".join(parts)
