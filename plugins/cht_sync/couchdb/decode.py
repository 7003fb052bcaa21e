"""Reads answers of ``_changes`` and ``_all_docs``: whole or not at all, and row by row where a document is odd."""

from __future__ import annotations

import msgspec

from cht_sync.couchdb.odd_json import OddRowError, cut_rows, fields_of, read_rows, require_readable, text_of
from cht_sync.couchdb.structs import NOTHING, Change, Page, Revision
from cht_sync.errors import BrokenAnswerError, UnreadableAnswerError


class _Answer(msgspec.Struct):
    results: list[Change]
    last_seq: msgspec.Raw
    pending: int | None = None


class _Value(msgspec.Struct):
    rev: str
    deleted: bool = False


class _Row(msgspec.Struct):
    key: str
    value: _Value | None = None
    error: msgspec.Raw = NOTHING
    doc: msgspec.Raw = NOTHING


class _Listing(msgspec.Struct):
    rows: list[_Row]


_ANSWER = msgspec.json.Decoder(_Answer)
_CHANGE = msgspec.json.Decoder(Change)
_REVISIONS = msgspec.json.Decoder(list[Revision])
_LISTING = msgspec.json.Decoder(_Listing)
_ROW = msgspec.json.Decoder(_Row)
_VALUE = msgspec.json.Decoder(_Value | None)


def decode_page(body: bytes | bytearray) -> Page:
    """Reads one page of changes.

    :return: the page, with document bodies that are views on ``body``. Where a strict reader would refuse a
        document (lone surrogates, nesting beyond its depth, invalid escapes), its bytes are handed on all the same.
    :raises BrokenAnswerError: if the JSON is cut off, is no page or holds an error object; CouchDB answers 200
        before it knows whether all goes well. As UnreadableAnswerError if it came whole and a row cannot be read.
    """
    try:
        require_readable(body)
    except ValueError as error:
        raise BrokenAnswerError(f"CouchDB's answer is no page of changes ({error}; {len(body)} bytes).") from None
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            answer = _row_by_row(body)
        except OddRowError as odd:
            raise UnreadableAnswerError(
                f"CouchDB's answer is no complete page of changes ({odd}; {len(body)} bytes)."
            ) from None
        except (ValueError, RecursionError):
            # Never the body itself: it holds documents, and this text goes to the logs.
            reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise BrokenAnswerError(
                f"CouchDB's answer is no complete page of changes ({reason}; {len(body)} bytes)."
            ) from None
    if not _is_seq(bytes(answer.last_seq)):
        raise BrokenAnswerError(f"CouchDB's answer is no page of changes: its last_seq is no seq ({len(body)} bytes).")
    return Page(answer.results, answer.last_seq, answer.pending, len(body))


def _is_seq(value: bytes) -> bool:
    """Whether it can be a checkpoint: a text that Postgres holds, a number, or the array of old clusters."""
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    if value.startswith(b'"'):
        text = msgspec.json.decode(value, type=str)
        return bool(text) and "\0" not in text
    return value[:1].isdigit() or value.startswith(b"[")


def name_of(body: bytes) -> tuple[str, str | None, bool]:
    """What a document says of itself."""
    fields = fields_of(body)
    if "_id" not in fields:
        raise ValueError("it has no _id")
    rev = text_of(fields["_rev"]) if "_rev" in fields else None
    return text_of(fields["_id"]), rev, fields.get("_deleted") == b"true"


def _row_by_row(body: bytes | bytearray) -> _Answer:
    """Cuts the rows out, reads what is left as a page without rows, and each row by itself."""
    rows, rest = cut_rows(body, b"results")
    answer = _ANSWER.decode(rest)
    answer.results = read_rows(rows, _change)
    return answer


def _change(row: bytes) -> Change:
    try:
        return _CHANGE.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = fields_of(row)
    deleted = fields.get("deleted", b"false")
    if "id" not in fields or deleted not in {b"true", b"false"}:
        raise ValueError("a row is no change")
    return Change(
        id=text_of(fields["id"]),
        changes=_REVISIONS.decode(fields.get("changes", b"[]")),
        deleted=deleted == b"true",
        doc=msgspec.Raw(fields.get("doc", b"")),
        error=msgspec.Raw(fields.get("error", b"")),
    )


def decode_rows(body: bytes | bytearray) -> list[Change]:
    """The documents that an answer lists; without a revision where the server does not know the id.

    Where a strict reader would refuse an ``_id`` or a document, its bytes are handed on all the same.

    :raises ValueError: if the JSON is cut off or is no listing; as OddRowError if it came whole and a row cannot be
        read.
    """
    require_readable(body)
    try:
        return [_state(row) for row in _LISTING.decode(body).rows]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        rows, rest = cut_rows(body, b"rows")
        _LISTING.decode(rest)
    except RecursionError:
        raise ValueError("no listing of documents") from None
    return read_rows(rows, lambda row: _state(_row(row)))


def _row(row: bytes) -> _Row:
    try:
        return _ROW.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = fields_of(row)
    if "key" not in fields:
        raise ValueError("a row is none of a listing")
    return _Row(
        key=text_of(fields["key"]),
        value=_VALUE.decode(fields.get("value", b"null")),
        error=msgspec.Raw(fields.get("error", b"")),
        doc=msgspec.Raw(fields.get("doc", b"")),
    )


def _state(row: _Row) -> Change:
    if row.value is None:
        return Change(row.key, error=row.error)
    return Change(row.key, [Revision(row.value.rev)], row.value.deleted, row.doc)
