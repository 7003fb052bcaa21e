"""Reads answers of ``_all_docs``."""

from __future__ import annotations

import msgspec

from cht_sync.couchdb.odd_json import cut_rows, fields_of, read_rows, require_readable, text_of
from cht_sync.couchdb.structs import NOTHING, Change, Revision


class _Value(msgspec.Struct):
    rev: str
    deleted: bool = False


class _Row(msgspec.Struct):
    key: str
    value: _Value | None = None
    error: msgspec.Raw = NOTHING
    doc: msgspec.Raw = NOTHING


class _Answer(msgspec.Struct):
    rows: list[_Row]


_ANSWER = msgspec.json.Decoder(_Answer)
_ROW = msgspec.json.Decoder(_Row)
_VALUE = msgspec.json.Decoder(_Value | None)


def decode_rows(body: bytes | bytearray) -> list[Change]:
    """The documents that an answer lists.

    :param body: the whole body of the answer.
    :return: a change for each row; without a revision where the server does not know the id. Where a strict reader
        would refuse an ``_id`` or a document (lone surrogates, nesting beyond its depth), its bytes are handed on all
        the same.
    :raises ValueError: if the JSON is cut off or is no listing; as OddRowError if it came whole and a row cannot be
        read.
    """
    require_readable(body)
    try:
        return [_change(row) for row in _ANSWER.decode(body).rows]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        rows, rest = cut_rows(body, b"rows")
        _ANSWER.decode(rest)
    except RecursionError:
        raise ValueError("no listing of documents") from None
    return read_rows(rows, lambda row: _change(_row(row)))


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


def _change(row: _Row) -> Change:
    if row.value is None:
        return Change(row.key, error=row.error)
    return Change(row.key, [Revision(row.value.rev)], row.value.deleted, row.doc)
