"""Reads JSON that no strict reader takes: lone surrogates, bytes that are no UTF-8, nesting beyond its depth."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")

# A string in JSON, as the pattern of a regular expression.
STRING = rb'"[^"\\]*(?:\\.[^"\\]*)*"'
_BRACKETS = re.compile(STRING + rb'|[{}\[\]"]', re.DOTALL)
_TOKEN = re.compile(rb"\s*(" + STRING + rb'|[{}\[\],:]|[^\s{}\[\],:"]+)', re.DOTALL)
_BETWEEN_ROWS = re.compile(rb"\s*,\s*")
# In 32 MB of documents there are some hundred thousand.
MOST_OBJECTS = 2_000_000
# BATCH_SIZE allows 100,000: each costs some hundred bytes, however small it came.
MOST_ROWS = 200_000
_CLOSING = {b"{": b"}", b"[": b"]"}


class OddRowError(ValueError):
    """One row of an answer cannot be read, although the answer came whole."""


def require_readable(body: bytes | bytearray) -> None:
    """Raises ValueError where an answer would take many times its size: a row of ten bytes becomes a hundred."""
    if len(body) > MOST_OBJECTS and body.count(b"{") > MOST_OBJECTS:
        raise ValueError(f"more than {MOST_OBJECTS:,} objects")


def cut_rows(body: bytes | bytearray, name: bytes) -> tuple[list[bytes], bytes]:
    """Cuts the rows out of an answer: the member ``name`` of its object.

    :raises ValueError: if the brackets do not pair, or it holds no such rows.
    """
    spans, begin, end = _rows(body, b'"%s"' % name)
    return [bytes(body[start:stop]) for start, stop in spans], bytes(body[:begin] + body[end:])


def read_rows(rows: list[bytes], read: Callable[[bytes], T]) -> list[T]:
    """Reads rows that were cut out; raises OddRowError where one cannot be read."""
    try:
        return [read(row) for row in rows]
    except (ValueError, TypeError, RecursionError) as error:
        # Never what the row holds: this text goes to the logs.
        raise OddRowError(f"a row of it is none: {type(error).__name__}") from None


def _rows(body: bytes | bytearray, name: bytes) -> tuple[list[tuple[int, int]], int, int]:
    """Where each row begins and ends, and where they all do."""
    spans: list[tuple[int, int]] = []
    depth, row, begin, member = 0, 0, -1, b""
    for match in _BRACKETS.finditer(body):
        mark = body[match.start()]
        if mark == ord('"'):
            if len(match[0]) == 1:
                raise ValueError("a string has no end")
            if depth == 1:
                member = match[0]
        elif mark in b"{[":
            if depth == 2 and begin >= 0:
                row = match.start()
            depth += 1
            if depth == 2 and member == name and mark == ord("["):
                begin = match.end()
        else:
            depth -= 1
            if depth == 2 and begin >= 0:
                spans.append((row, match.end()))
                if len(spans) > MOST_ROWS:
                    raise ValueError("more rows than anybody asks for")
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


def text_of(value: bytes) -> str:
    """A JSON string that may hold what no strict reader takes: lone surrogates, bytes that are no UTF-8."""
    found = json.loads(value.decode("utf-8", "surrogateescape"), strict=False)
    if not isinstance(found, str):
        raise ValueError("an id is no string")
    return found


def fields_of(row: bytes) -> dict[str, bytes]:
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
            fields[text_of(name)] = row[start:position]
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
