"""Reads the bytes of a page of changes: whole or not at all, and row by row where a document is odd."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import msgspec

from cht_sync.errors import BrokenAnswerError
from cht_sync.page import NOTHING, Change, Page, Revision


class _Answer(msgspec.Struct):
    results: list[Change]
    last_seq: msgspec.Raw
    pending: int | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_CHANGE = msgspec.json.Decoder(Change)
_REVISIONS = msgspec.json.Decoder(list[Revision])
_STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_BRACKETS = re.compile(_STRING + rb'|[{}\[\]"]', re.DOTALL)
_TOKEN = re.compile(rb"\s*(" + _STRING + rb'|[{}\[\],:]|[^\s{}\[\],:"]+)', re.DOTALL)
_BETWEEN_ROWS = re.compile(rb"\s*,\s*")
_CLOSING = {b"{": b"}", b"[": b"]"}


def decode_page(body: bytes | bytearray) -> Page:
    """Reads one page of changes.

    :param body: the whole body of the answer.
    :return: the page, with document bodies that are views on ``body``. Where a strict reader would refuse a
        document (lone surrogates, nesting beyond its depth, invalid escapes), its bytes are handed on all the same.
    :raises BrokenAnswerError: if the JSON is cut off, is no page or holds an error object; CouchDB answers 200
        before it knows whether all goes well.
    """
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        try:
            answer = _row_by_row(body)
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
    """What a document says of itself.

    :param body: its bytes.
    :return: ``_id``, ``_rev`` and whether it is deleted.
    :raises ValueError: if it is no sound JSON object with an ``_id``.
    """
    fields = _fields(body)
    if "_id" not in fields:
        raise ValueError("it has no _id")
    rev = _text(fields["_rev"]) if "_rev" in fields else None
    return _text(fields["_id"]), rev, fields.get("_deleted") == b"true"


def _row_by_row(body: bytes | bytearray) -> _Answer:
    """Cuts the rows out, reads what is left as a page without rows, and each row by itself.

    :raises ValueError: if the brackets of the page do not pair or what is left is no page.
    """
    spans, begin, end = _rows(body)
    answer = _ANSWER.decode(body[:begin] + body[end:])
    answer.results = [_change(bytes(body[start:stop])) for start, stop in spans]
    return answer


def _rows(body: bytes | bytearray) -> tuple[list[tuple[int, int]], int, int]:
    """Where each row of ``results`` begins and ends, and where they all do."""
    spans: list[tuple[int, int]] = []
    depth, row, begin, name = 0, 0, -1, b""
    for match in _BRACKETS.finditer(body):
        mark = body[match.start()]
        if mark == ord('"'):
            if len(match[0]) == 1:
                raise ValueError("a string has no end")
            if depth == 1:
                name = match[0]
        elif mark in b"{[":
            if depth == 2 and begin >= 0:
                row = match.start()
            depth += 1
            if depth == 2 and name == b'"results"' and mark == ord("["):
                begin = match.end()
        else:
            depth -= 1
            if depth == 2 and begin >= 0:
                spans.append((row, match.end()))
            elif depth == 1 and begin >= 0:
                return _only_commas_between(body, spans, begin, match.start()), begin, match.start()
    raise ValueError("the results have no end")


def _only_commas_between(
    body: bytes | bytearray, spans: list[tuple[int, int]], begin: int, end: int
) -> list[tuple[int, int]]:
    if not spans:
        raise ValueError("there are no rows")
    if body[begin : spans[0][0]].strip() or body[spans[-1][1] : end].strip():
        raise ValueError("there is something beside the rows")
    for (_, before), (after, _) in pairwise(spans):
        if not _BETWEEN_ROWS.fullmatch(body, before, after):
            raise ValueError("there is something between two rows")
    return spans


def _change(row: bytes) -> Change:
    try:
        return _CHANGE.decode(row)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = _fields(row)
    deleted = fields.get("deleted", b"false")
    if "id" not in fields or deleted not in {b"true", b"false"}:
        raise ValueError("a row is no change")
    return Change(
        id=_text(fields["id"]),
        changes=_REVISIONS.decode(fields.get("changes", b"[]")),
        deleted=deleted == b"true",
        doc=msgspec.Raw(fields["doc"]) if "doc" in fields else NOTHING,
        error=msgspec.Raw(fields["error"]) if "error" in fields else NOTHING,
    )


def _text(value: bytes) -> str:
    """A JSON string that may hold what no strict reader takes: lone surrogates, bytes that are no UTF-8."""
    found = json.loads(value.decode("utf-8", "surrogateescape"), strict=False)
    if not isinstance(found, str):
        raise ValueError("an id is no string")
    return found


def _fields(row: bytes) -> dict[str, bytes]:
    """The fields of an object as bytes.

    Every token within is checked to be where JSON allows it, however deep: else a stray quote could make one
    document swallow its neighbours. What a string or a number holds is left for Postgres to judge.

    :raises ValueError: if it is no sound object.
    """
    fields: dict[str, bytes] = {}
    stack: list[bytes] = []
    wanted, name, start, position = "value", b"", 0, 0
    while position < len(row):
        match = _TOKEN.match(row, position)
        if match is None:
            raise ValueError("a string has no end")
        token, position = match[1], match.end()
        if len(stack) == 1 and wanted == "value":
            start = match.start(1)
        if token in _CLOSING and wanted in {"value", "value or end"}:
            stack.append(token)
            wanted = "key or end" if token == b"{" else "value or end"
            continue
        wanted = _after(token, wanted, stack)
        if len(stack) == 1 and wanted == ":":
            name = token
        elif len(stack) == 1 and wanted == "comma or end" and stack == [b"{"]:
            fields[_text(name)] = row[start:position]
        if not stack:
            break
    if stack or row[position:].strip():
        raise ValueError("the object has no end, or something behind it")
    return fields


def _after(token: bytes, wanted: str, stack: list[bytes]) -> str:
    """What may follow a token that opens nothing; takes a closed bracket off the stack."""
    is_end = token in {b"}", b"]"}
    if is_end and stack and wanted.endswith("end") and token == _CLOSING[stack[-1]]:
        stack.pop()
        return "comma or end"
    if token == b"," and wanted == "comma or end":
        return "key" if stack[-1] == b"{" else "value"
    if token == b":" and wanted == ":":
        return "value"
    if token.startswith(b'"') and wanted in {"key", "key or end"}:
        return ":"
    if token not in {b"{", b"[", b"}", b"]", b",", b":"} and wanted in {"value", "value or end"} and stack:
        return "comma or end"
    raise ValueError("a token stands where JSON does not allow it")
