"""JSON as the oracle compares it: exact numbers, every member of an object kept, no limit to nesting."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

# A number is certainly storable up to the first bound and certainly not beyond the second.
# Source: https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-NUMERIC-TABLE
DIGITS_BEFORE_POINT = (100_000, 131_072)
DIGITS_AFTER_POINT = (16_000, 16_383)
# Postgres' own bound is its stack, which differs between builds.
DEEP = 500


class Members(list[tuple[str, Any]]):
    """A JSON object as its members, in order and with those of equal name."""

    def last(self) -> dict[str, Any]:
        """The members by name; of those of equal name the last."""
        return dict(self)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A text that is no JSON, and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Beyond:
    """A number whose exponent not even Decimal holds."""

    text: str


@dataclass(slots=True)
class Flat:
    """A value as a list that can be compared without recursion, and what Postgres may or must refuse in it."""

    tokens: list[Any]
    refused: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)


def parse(body: bytes) -> Any:
    """Reads a JSON text.

    :param body: the text.
    :return: :class:`Members`, list, str, Decimal, bool or None; :class:`Unreadable` where it is no JSON.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        return Unreadable(f"invalid UTF-8 at byte {error.start}")
    return parse_text(text)


def parse_text(text: str) -> Any:
    """Reads a JSON text that is decoded already.

    :param text: the text.
    :return: as :func:`parse`.
    """
    try:
        return _loads(text)
    except RecursionError:
        return _with_much_stack(lambda: _loads(text))
    except ValueError as error:
        return Unreadable(str(error))


def _loads(text: str) -> Any:
    return json.loads(
        text, object_pairs_hook=Members, parse_float=_number, parse_int=_number, parse_constant=_no_constant
    )


def _number(text: str) -> Decimal | Beyond:
    try:
        return Decimal(text)
    except InvalidOperation:
        return Beyond(text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _with_much_stack(work: Callable[[], Any]) -> Any:
    """Python's reader of JSON recurses; what a document may nest is Postgres' affair, not ours."""
    result: list[Any] = []

    def run() -> None:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(200_000)
        try:
            result.append(work())
        except (ValueError, RecursionError) as error:
            result.append(Unreadable(str(error)))
        finally:
            sys.setrecursionlimit(limit)

    size = threading.stack_size(512 * 1024 * 1024)
    try:
        thread = threading.Thread(target=run)
        thread.start()
    finally:
        threading.stack_size(size)
    thread.join()
    return result[0]


def flatten(value: Any, *, without_nul: bool = False) -> Flat:
    """Brings a value into a form that is equal exactly where the values are.

    The order of an object's members and the way a number is written do not count; ``1`` and ``true`` differ.

    :param value: from :func:`parse`.
    :param without_nul: take U+0000 out of keys and texts, as ``jsonb`` needs it.
    """
    flat = Flat([])
    stack: list[tuple[str, Any, int]] = [("value", value, 0)]
    while stack:
        kind, item, depth = stack.pop()
        if kind == "token":
            flat.tokens.append(item)
        elif isinstance(item, Members):
            flat.tokens.append("{")
            stack.append(("token", "}", depth))
            for name, member in sorted(_named(item, flat, without_nul), key=lambda each: each[0], reverse=True):
                stack += (("value", member, depth + 1), ("token", ("key", name), depth))
        elif isinstance(item, list):
            flat.tokens.append("[")
            stack.append(("token", "]", depth))
            stack += (("value", each, depth + 1) for each in reversed(item))
        else:
            flat.tokens.append(_scalar(item, flat, without_nul))
        if depth > DEEP:
            flat.doubtful.add("deep nesting")
    return flat


def _named(members: Members, flat: Flat, without_nul: bool) -> list[tuple[str, Any]]:
    by_name = members.last()
    if len(by_name) < len(members):
        flat.doubtful.add("two members of one name")
    named = [(_text(name, flat, without_nul), member) for name, member in by_name.items()]
    if len({name for name, _ in named}) < len(named):
        flat.refused.add("two keys that are equal without U+0000")
    return named


def _scalar(item: Any, flat: Flat, without_nul: bool) -> Any:
    if isinstance(item, str):
        return "text", _text(item, flat, without_nul)
    if isinstance(item, Decimal):
        _, digits, exponent = item.as_tuple()
        before, after = len(digits) + int(exponent), -int(exponent)
        if before > DIGITS_BEFORE_POINT[0] or after > DIGITS_AFTER_POINT[0]:
            # Zeros at its end are no part of the value: without them it may fit.
            needless = len(digits) - len("".join(map(str, digits)).rstrip("0"))
            fits = before <= DIGITS_BEFORE_POINT[1] and after - needless <= DIGITS_AFTER_POINT[1]
            doubt = fits or not any(digits)
            (flat.doubtful if doubt else flat.refused).add("a number beyond numeric")
        return "number", item
    if isinstance(item, Beyond):
        flat.refused.add("a number beyond numeric")
        return "beyond", item.text
    return "constant", str(item)


def _text(text: str, flat: Flat, without_nul: bool) -> str:
    if not text.isascii() and any("\ud800" <= each <= "\udfff" for each in text):
        flat.refused.add("a lone surrogate")
    return text.replace("\0", "") if without_nul and "\0" in text else text


def first_difference(wanted: list[Any], found: list[Any]) -> str:
    """Where two flattened values part, for a person.

    :param wanted: tokens of the one.
    :param found: tokens of the other.
    """
    place, key = 0, ""
    for place, (left, right) in enumerate(zip(wanted, found, strict=False)):  # noqa: B007
        if left != right:
            break
        if left[0] == "key":
            key = left[1]
    else:
        place = min(len(wanted), len(found))
    return f"after key {key!r}: CouchDB {_short(wanted, place)}, Postgres {_short(found, place)}"


def _short(tokens: list[Any], place: int) -> str:
    text = " ".join(each if isinstance(each, str) else ascii(each[1]) for each in tokens[place : place + 3])
    return text[:120] or "nothing more"
