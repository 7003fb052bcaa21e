"""Reads answers of ``_all_docs``."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from cht_sync.page import NOTHING, Change, Revision


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


def decode_rows(body: bytes | bytearray) -> list[Change]:
    """The documents that an answer lists.

    :param body: the whole body of the answer.
    :return: a change for each row; without a revision where the server does not know the id. Where a strict reader
        would refuse an ``_id`` or a document (lone surrogates, nesting beyond its depth), all come without bodies.
    :raises ValueError: if the JSON is cut off or is no listing.
    """
    try:
        return [_change(row) for row in _ANSWER.decode(body).rows]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        # Python's reader takes an _id that holds lone surrogates, as the feed may name one.
        return [_leniently(row) for row in json.loads(body.decode("utf-8", "surrogatepass"))["rows"]]
    except (KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError("no listing of documents") from None


def _change(row: _Row) -> Change:
    if row.value is None:
        return Change(row.key, error=row.error)
    return Change(row.key, [Revision(row.value.rev)], row.value.deleted, row.doc)


def _leniently(row: dict[str, Any]) -> Change:
    value, error = row.get("value"), row.get("error")
    return Change(
        id=row["key"],
        changes=[Revision(value["rev"])] if value else [],
        deleted=bool(value and value.get("deleted")),
        error=msgspec.Raw(json.dumps(error).encode()) if error else NOTHING,
    )
