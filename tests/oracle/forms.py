"""Tells what the tables of a form must hold; shares no code with the package, so that it shares no error.

What it checks: each thing that a report says is in a cell, or is rejected with its reason, or is left out by rule.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Any

from cht_sync.forms.definition import FormDefinition, FormField, Path

BLANKS = (
    " \t\n\r\f\v\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b"
    "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
LEFT_OUT = (
    "inputs/contact/*", "inputs/user/*", "inputs/meta/*", "meta/*", "group_review/*", "group_summary/*", "summary/*"
)  # fmt: skip
POSITION = ("*latitude", "*longitude", "*altitude", "*accuracy")
TOO_LONG = "too long for the row"
# How PostgreSQL names the type of a column of each kind.
TYPES = {
    "text": "text",
    "bigint": "bigint",
    "numeric": "numeric",
    "date": "date",
    "timestamptz": "timestamp with time zone",
    "time": "time without time zone",
    "boolean": "boolean",
    "text[]": "text[]",
    "geopoint": "double precision",
    "epoch": "timestamp with time zone",
}
_DECLARED = {
    "int": "bigint",
    "decimal": "numeric",
    "range": "numeric",
    "date": "date",
    "dateTime": "timestamptz",
    "time": "time",
    "boolean": "boolean",
    "select": "text[]",
    "rank": "text[]",
    "odk:rank": "text[]",
    "geopoint": "geopoint",
    "epoch": "epoch",
}
_REASONS = {
    "bigint": "not a whole number",
    "numeric": "not a number",
    "date": "not a date",
    "timestamptz": "not a time with its zone",
    "time": "not a time",
    "boolean": "neither true nor false",
    "text[]": "not a list of choices",
    "geopoint": "not a position",
    "epoch": "not a date in milliseconds",
}
_UNCASTABLE = object()


@dataclass(slots=True)
class Row:
    """A row that a table must have.

    :param key: ``uuid`` and the positions.
    :param cells: by path from the ``fields`` of the report on; a position has four, whose paths end in one of
        :data:`POSITION`. Times are microseconds, since 1970 or midnight.
    :param rejects: field, value and reason; two may have one field where a key holds a full stop.
    """

    key: tuple[Any, ...]
    cells: dict[Path, Any]
    rejects: list[tuple[str, str, str]] = field(default_factory=list)
    version: str | None = None


@dataclass(slots=True)
class _Node:
    """What stands at a path in any version of the form."""

    path: Path
    asked: FormField | None = None
    is_repeat: bool = False
    below: dict[str, _Node] = field(default_factory=dict)

    def all(self) -> Iterator[_Node]:
        yield self
        for node in self.below.values():
            yield from node.all()


def declared_kind(declared: str) -> str:
    """The kind of column for a type as a form declares it."""
    return _DECLARED.get(declared, "text")


class FormOracle:
    """The tables of one form.

    :param kinds: of the column of each field, where that is not what the field declares.
    :param exclude: globs of paths, joined by ``/``, beside those that are left out in any case.
    """

    def __init__(
        self, definition: FormDefinition, kinds: Mapping[Path, str] | None = None, exclude: Iterable[str] = ()
    ) -> None:
        self._code = definition.code
        self._globs = (*LEFT_OUT, *exclude)
        self._root = _Node(())
        for each in definition.fields:
            self._node(each.path).asked = each
        for path in definition.repeats:
            self._node(path).is_repeat = True
        self._repeats_out = {path for path in definition.repeats if self._is_all_left_out(path)}
        kept = [each for each in definition.fields if not each.note and not self._is_field_out(each.path)]
        self.kinds = {each.path: (kinds or {}).get(each.path, declared_kind(each.type)) for each in kept}
        self.tables: dict[Path, list[Path]] = {(): []}
        for node in self._root.all():
            if node.is_repeat and not self._is_out(node):
                self.tables[node.path] = []
        for path, kind in self.kinds.items():
            columns = [(*path, part) for part in POSITION] if kind == "geopoint" else [path]
            self.tables[self._table_of(path)] += columns

    def rows(self, documents: Iterable[str]) -> dict[Path, list[Row]]:
        """The rows of each table by the path of its repeat, ``()`` for the form itself.

        :param documents: the living ones as JSON text, of this form or of others.
        """
        rows: dict[Path, list[Row]] = {path: [] for path in self.tables}
        for text in documents:
            document = json.loads(text, parse_float=Decimal, parse_int=Decimal)
            if _is_report(document, self._code):
                _Report(self, rows, document).read()
        return rows

    def columns_of(self, path: Path) -> list[Path]:
        """Paths of the columns that a field has; none where it is left out."""
        kind = self.kinds.get(path)
        return [(*path, part) for part in POSITION] if kind == "geopoint" else [path] if kind else []

    def _node(self, path: Path) -> _Node:
        node = self._root
        for end, name in enumerate(path, 1):
            node = node.below.setdefault(name, _Node(path[:end]))
        return node

    def _is_left_out(self, path: Path) -> bool:
        return any(fnmatchcase("/".join(path), glob) for glob in self._globs)

    def _is_all_left_out(self, path: Path) -> bool:
        return self._is_left_out(path) or self._is_left_out((*path, ""))

    def _is_field_out(self, path: Path) -> bool:
        around = {path[:end] for end in range(len(path))}
        return self._is_left_out(path) or bool(around & self._repeats_out)

    def _is_out(self, node: _Node) -> bool:
        """Whether all below a group or a repeat is left out by rule."""
        around = {node.path[:end] for end in range(len(node.path) + 1)}
        if around & self._repeats_out:
            return True
        return self._is_all_left_out(node.path) and not any(
            each.path in self.kinds or (each.is_repeat and each.path not in self._repeats_out) for each in node.all()
        )

    def _table_of(self, path: Path) -> Path:
        return next(path[:end] for end in range(len(path) - 1, -1, -1) if path[:end] in self.tables)


class _Report:
    def __init__(self, oracle: FormOracle, rows: dict[Path, list[Row]], document: dict[str, Any]) -> None:
        self._oracle, self._rows, self._document = oracle, rows, document

    def read(self) -> None:
        row = self._new_row((), (self._document["_id"],))
        row.version = _version(self._document.get("form_version"))
        said = self._document.get("fields")
        if isinstance(said, dict):
            self._object(self._oracle._root, said, "", row)
        elif _says(said):
            _reject(row, "fields", said, "not a group")

    def _new_row(self, table: Path, key: tuple[Any, ...]) -> Row:
        row = Row(key, dict.fromkeys(self._oracle.tables[table]))
        self._rows[table].append(row)
        return row

    def _object(self, node: _Node, said: dict[str, Any], prefix: str, row: Row) -> None:
        for name, value in said.items():
            below = node.below.get(name)
            if below is not None:
                self._value(below, value, prefix + name, row)
                continue
            path = (*node.path, name)
            if _says(value) and not self._oracle._is_all_left_out(path):
                _reject(row, prefix + name, value, "no field of the form")

    def _value(self, node: _Node, value: Any, name: str, row: Row) -> None:
        if (node.is_repeat or node.below) and self._oracle._is_out(node):
            return
        if node.is_repeat and isinstance(value, list | dict):
            self._list(node, value if isinstance(value, list) else [value] if value else [], name, row)
        elif node.below and isinstance(value, dict):
            self._object(node, value, f"{name}.", row)
        elif node.asked is not None:
            self._leaf(node.path, value, name, row)
        elif _says(value):
            _reject(row, name, value, "not a list" if node.is_repeat else "not a group")

    def _list(self, node: _Node, listed: list[Any], name: str, row: Row) -> None:
        for position, value in enumerate(listed, 1):
            if not _says(value):
                continue
            if isinstance(value, dict):
                self._object(node, value, f"{name}.{position}.", self._new_row(node.path, (*row.key, position)))
            else:
                _reject(row, f"{name}.{position}", value, "not an object")

    def _leaf(self, path: Path, value: Any, name: str, row: Row) -> None:
        kind = self._oracle.kinds.get(path)
        if kind is None or not _says(value):
            return
        if isinstance(value, dict) or (isinstance(value, list) and kind != "text[]"):
            reason = "not a list of choices" if kind == "text[]" else "a list or an object"
            _reject(row, name, value, reason)
            return
        found = _cell(kind, value)
        if found is _UNCASTABLE:
            _reject(row, name, value, _REASONS[kind])
        elif kind == "geopoint":
            row.cells.update(zip(self._oracle.columns_of(path), found, strict=True))
        else:
            row.cells[path] = found


def text_of(value: Any) -> str:
    """A value as PostgreSQL writes it as text: a text as it is, else JSON."""
    return value if isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    if isinstance(value, dict):
        members = sorted(value.items(), key=lambda each: (len(each[0].encode()), each[0].encode()))
        return "{" + ", ".join(f"{_json(name)}: {_json(one)}" for name, one in members) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_json, value)) + "]"
    if isinstance(value, Decimal):
        return format(abs(value) if value.is_zero() else value, "f")
    return json.dumps(value, ensure_ascii=False)


def _is_report(document: Any, code: str) -> bool:
    if not isinstance(document, dict) or document.get("type") != "data_record":
        return False
    form = document.get("form")
    return isinstance(form, str | Decimal) and text_of(form) == code


def _version(said: Any) -> str | None:
    if isinstance(said, dict):
        said = said.get("time")
    return text_of(said) if _says(said) and not isinstance(said, dict | list) else None


def _says(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip(BLANKS))
    return value is not None and value not in ([], {})


def _reject(row: Row, name: str, value: Any, reason: str) -> None:
    row.rejects.append((name, text_of(value)[:200], reason))


def _cell(kind: str, value: Any) -> Any:
    if kind == "text":
        return text_of(value)
    if isinstance(value, list):
        return _choices(value)
    return _CASTS[kind](text_of(value).strip(BLANKS))


def _choices(value: list[Any]) -> Any:
    if any(isinstance(each, dict | list) for each in value):
        return _UNCASTABLE
    return [text_of(each).strip(BLANKS) for each in value if _says(each)] or None


def _split(text: str) -> list[str]:
    return re.split(r"[ \t\n\r\f\v]+", text)


def _whole(text: str) -> Any:
    found = re.fullmatch(r"([+-]?[0-9]{1,18})(\.0*)?", text)
    return int(found[1]) if found else _UNCASTABLE


def _number(text: str) -> Any:
    is_number = re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", text)
    return Decimal(text) if is_number and len(text) <= 300 else _UNCASTABLE


def _day(text: str) -> Any:
    if not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        return _UNCASTABLE
    try:
        return date(*map(int, text.split("-")))
    except ValueError:
        return _UNCASTABLE


_CLOCK = r"([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:(\.[0-9]{1,9}))?)?"
_ZONE = r"(?:Z|([+-])(0[0-9]|1[0-4])(?::?([0-5][0-9]))?)"


def _micros(hour: str, minute: str, second: str | None, fraction: str | None) -> int:
    # Binary, as PostgreSQL rounds it.
    rounded = round(float(fraction) * 1e6) if fraction else 0
    return (int(hour) * 3600 + int(minute) * 60 + int(second or 0)) * 1_000_000 + rounded


def _instant(text: str) -> Any:
    found = re.fullmatch(rf"(.{{10}})[T ]{_CLOCK} ?{_ZONE}", text)
    day = _day(found[1]) if found else _UNCASTABLE
    if found is None or day is _UNCASTABLE:
        return _UNCASTABLE
    _, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    offset = (int(hours or 0) * 3600 + int(minutes or 0) * 60) * 1_000_000
    days = (day.toordinal() - date(1970, 1, 1).toordinal()) * 86_400_000_000
    return days + _micros(hour, minute, second, fraction) + (offset if sign == "-" else -offset)


def _clock(text: str) -> Any:
    found = re.fullmatch(rf"{_CLOCK}(?: ?{_ZONE})?", text)
    return _micros(*found.groups()[:4]) if found else _UNCASTABLE


def _truth(text: str) -> Any:
    lowered = text.lower()
    if lowered in {"true", "t", "yes", "y", "on", "1"}:
        return True
    return False if lowered in {"false", "f", "no", "n", "off", "0"} else _UNCASTABLE


def _position(text: str) -> Any:
    words = _split(text)
    number = r"[+-]?[0-9]{1,7}(\.[0-9]{0,20})?"
    if not 2 <= len(words) <= 4 or not all(re.fullmatch(number, word) for word in words):
        return _UNCASTABLE
    found = [*map(float, words), None, None][:4]
    return found if abs(found[0]) <= 90 and abs(found[1]) <= 180 else _UNCASTABLE


def _epoch(text: str) -> Any:
    number = _whole(text)
    if number is _UNCASTABLE or not 100_000_000_000 <= number <= 253_402_300_799_999:
        return _UNCASTABLE
    return number // 1000 * 1_000_000


_CASTS = {
    "bigint": _whole,
    "numeric": _number,
    "date": _day,
    "timestamptz": _instant,
    "time": _clock,
    "boolean": _truth,
    "text[]": _split,
    "geopoint": _position,
    "epoch": _epoch,
}
