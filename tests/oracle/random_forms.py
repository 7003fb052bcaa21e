"""Random definitions of forms, and reports that fit them, or do not.

All is drawn from a :class:`random.Random`: a seeded one, or one of Hypothesis, which then finds the smallest.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from cht_sync.forms.definition import Choice, FormDefinition, FormField, Path

PLAIN_NAMES = (
    "a", "age", "lmp_date", "Name", "name", "NAME", "order", "user", "select", "uuid", "reported", "rejected", "position",
    "saved_timestamp", "parent_position", "patient_id", "form_version", "xmin", "ctid", "fields", "table", "ünïcode",
    "数据", "_", "__", "a__b", "b", "_1", "n_note", "r_secret", "meta", "inputs", "contact", "user", "summary",
    "group_review", "group_summary", "source", "x" * 63, "x" * 64, "x" * 300, "y" * 299 + "z", "数" * 100, "a.b", "a-b",
)  # fmt: skip
HOSTILE_NAMES = (
    'user"; drop table raw; --', "it's", "{{ 1 / 0 }}", "{% raw %}", "{# x", "%s", "%(x)s", "\\", "\\u0041", "😀", "a b",
    " ", "\t", "\x01", "--", "/*", "*/", "$$", "a\nb", "'", '"', "::text", "U&'\\0041'", "1", "1.2", "/",
    "a/b", "*", "[x]", "null", "\u202e", "é", "e\u0301", "0", "-1", "$.x", "a,b", "{a}", "",
)  # fmt: skip
HOSTILE_TEXTS = (
    "{{ 1 / 0 }}", "{% endraw %}", "{#", "'; drop schema v1 cascade; --", '"', "\\", "$$", "--", "/* x", "line\nbreak", "\t",
    "\x07", "%s", "😀", "null", "yes", "~", "- a", "a: b", "#x", "*/", "&anchor", "*alias", "!tag", "\u2028", "\x85", "", " ",
    "'{{ ref(\"x\") }}'", "}}", "%}",
)  # fmt: skip
TYPES = (
    "string", "string", "int", "decimal", "range", "date", "dateTime", "time", "boolean", "select", "select1", "rank",
    "geopoint", "binary", "db:person", "barcode", "geotrace", "intent",
)  # fmt: skip
BLANK = (" ", "\t", "\n", "\r\n", "\v", "\f", "\u00a0", "\u2003", "\u200b", "\ufeff", "\x85", "\u3000", "\x1f")
MOST_LEVELS = 4


@dataclass(frozen=True)
class Taste:
    """What a random form is like.

    :param fields: at most.
    :param in_xml: names are those of XML elements, types those of an XForm.
    """

    fields: int = 12
    in_xml: bool = False


def random_definition(draw: Random, code: str = "f", taste: Taste = Taste()) -> FormDefinition:
    """A form: groups, repeats in repeats, each kind of field, odd names and labels."""
    fields: list[FormField] = []
    repeats: list[Path] = []
    room = [draw.randint(1, taste.fields)]

    def fill(above: Path, repeat: Path | None) -> None:
        used: set[str] = set()
        for _ in range(draw.randint(1, 5 if len(above) else taste.fields)):
            if room[0] <= 0:
                return
            name = _name(draw, taste, used)
            used.add(name)
            path = (*above, name)
            if len(path) < MOST_LEVELS and draw.random() < 0.35:
                is_repeat = draw.random() < 0.45
                repeats.extend([path] if is_repeat else [])
                before = len(fields)
                fill(path, path if is_repeat else repeat)
                if len(fields) == before:
                    # A group without fields is no group.
                    fields.append(_field(draw, (*path, "a"), path if is_repeat else repeat, taste))
                continue
            room[0] -= 1
            fields.append(_field(draw, path, repeat, taste))

    fill((), None)
    title = _text(draw, taste) or "A form"
    return FormDefinition(code, title, str(draw.randint(1, 9)), tuple(fields), tuple(repeats))


def other_version(draw: Random, definition: FormDefinition, taste: Taste = Taste()) -> FormDefinition:
    """The form as somebody changed it: fields are gone, have other types, or are new; values have become groups."""
    kept = [each for each in definition.fields if draw.random() < 0.8] or list(definition.fields)
    fields = [replace(each, type=draw.choice(TYPES)) if draw.random() < 0.2 else each for each in kept]
    repeats = {each for field in fields for each in definition.repeats if each == field.path[: len(each)]}
    more = random_definition(draw, definition.code, replace(taste, fields=4))
    paths = {each.path for each in fields}
    groups = {path[:end] for path in paths for end in range(1, len(path))}
    for each in more.fields:
        around = [each.path[:end] for end in range(1, len(each.path))]
        if each.path in paths | groups or any(one in paths for one in around):
            continue
        fields.append(each)
        repeats |= {one for one in around if one in more.repeats and one not in groups}
    listed = tuple(each for each in (*definition.repeats, *more.repeats) if each in repeats)
    return replace(definition, version="9.9", fields=tuple(fields), repeats=tuple(dict.fromkeys(listed)))


def wide_definition(draw: Random, code: str, fields: int) -> FormDefinition:
    """A form of many fields in one table, of every kind but positions."""
    kinds = [one for one in TYPES if one != "geopoint"]
    return FormDefinition(
        code, "Wide", "1", tuple(FormField(("g", f"f{number}"), draw.choice(kinds)) for number in range(fields))
    )


def _name(draw: Random, taste: Taste, used: set[str]) -> str:
    while True:
        name = draw.choice(PLAIN_NAMES if taste.in_xml or draw.random() < 0.6 else HOSTILE_NAMES)
        if name in used:
            name = f"{name}{draw.randint(2, 99)}"
        if name not in used and not (taste.in_xml and not _is_element(name)):
            return name


def _is_element(name: str) -> bool:
    return bool(name) and (name[0].isalpha() or name[0] == "_")


def _field(draw: Random, path: Path, repeat: Path | None, taste: Taste) -> FormField:
    kind = draw.choice(TYPES if taste.in_xml else (*TYPES, "epoch"))
    hidden = draw.random() < 0.2 and kind not in {"select", "select1", "rank"}
    note = not hidden and kind == "string" and draw.random() < 0.3
    with_choices = kind in {"select", "select1", "rank"} and draw.random() < 0.7
    values = (
        dict.fromkeys(draw.choice(("a", "b", "it's", "{{ x }}", "😀", "1")) for _ in range(3)) if with_choices else {}
    )
    labels = {} if hidden or draw.random() < 0.3 else _labels(draw, taste)
    choices = tuple(Choice(value, _labels(draw, taste)) for value in values)
    return FormField(path, kind, labels, choices, repeat, note=note, hidden=hidden)


def _labels(draw: Random, taste: Taste) -> dict[str, str]:
    return {language: _text(draw, taste) or "x" for language in draw.sample(("", "en", "fr"), draw.choice((1, 2)))}


def _text(draw: Random, taste: Taste) -> str:
    text = draw.choice(HOSTILE_TEXTS)
    # XML has no control characters, and blanks of a label are no part of it.
    return " ".join(text.replace("\x07", "").split()) if taste.in_xml else text


# Values.


def fitting_value(draw: Random, kind: str) -> Any:
    """What an app or a person writes for a field of a type."""
    make = _FITTING.get(kind)
    return make(draw) if make else draw.choice(_TEXTS)


def odd_value(draw: Random, depth: int = 0) -> Any:
    """Any JSON at all, most of it near to what some kind takes."""
    pick = draw.random()
    if pick < 0.35:
        return _blanked(draw, draw.choice(_ODD_TEXTS))
    if pick < 0.5:
        return _blanked(draw, str(fitting_value(draw, draw.choice(tuple(_FITTING)))))
    if pick < 0.7 or depth > 3:
        return draw.choice(_ODD_SCALARS)
    if pick < 0.74:
        return draw.choice((list, dict))()
    if pick < 0.85:
        return [odd_value(draw, depth + 1) for _ in range(draw.randint(0, 3))]
    return {draw.choice((*HOSTILE_NAMES, "a", "b")): odd_value(draw, depth + 1) for _ in range(draw.randint(0, 3))}


def _blanked(draw: Random, text: str) -> str:
    if draw.random() < 0.8:
        return text
    return draw.choice(BLANK) * draw.randint(0, 2) + text.replace(" ", draw.choice(BLANK)) + draw.choice(BLANK)


def _digits(draw: Random, most: int) -> str:
    return "".join(draw.choice(string.digits) for _ in range(draw.randint(1, most)))


def _day(draw: Random) -> str:
    return (
        f"{draw.choice((1, 1900, 1970, 2000, 2023, 2024, 9999)):04}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
    )


def _clock(draw: Random) -> str:
    seconds = draw.choice(("", ":00", ":59.999", f":{draw.randint(0, 59):02}.{_digits(draw, 9)}"))
    return f"{draw.randint(0, 23):02}:{draw.randint(0, 59):02}{seconds}"


def _zone(draw: Random) -> str:
    return draw.choice(("Z", "+03:00", "-11:30", "+0545", "+14", "-00:00", "+14:59"))


def _degrees(draw: Random) -> str:
    return " ".join(
        (
            repr(draw.uniform(-90, 90)),
            str(draw.uniform(-180, 180)),
            *(f"{draw.uniform(-99, 9999):.{draw.randint(0, 6)}f}" for _ in range(draw.randint(0, 2))),
        )
    )


_FITTING: dict[str, Callable[[Random], Any]] = {
    "int": lambda draw: draw.choice((str(draw.randint(-9, 999)), draw.randint(-(10**17), 10**17), "+7", "12.0", "3.")),
    "decimal": lambda draw: draw.choice(
        (f"{draw.uniform(-99, 99):.3f}", draw.uniform(-1e9, 1e9), "1e5", ".5", "7.", "-0.0")
    ),
    "range": lambda draw: str(draw.randint(0, 10)),
    "date": _day,
    "dateTime": lambda draw: f"{_day(draw)}{draw.choice('T ')}{_clock(draw)}{_zone(draw)}",
    "time": lambda draw: f"{_clock(draw)}{draw.choice(('', _zone(draw)))}",
    "boolean": lambda draw: draw.choice(("true", "false", True, False, "YES", "off", "1", 0, "T")),
    "select": lambda draw: draw.choice(("a", "a b", "a  b\tc", ["a", "b"], [1, True, None, " x "], "it's 😀")),
    "rank": lambda draw: "c b a",
    "select1": lambda draw: draw.choice(("a", "b", "it's", 1)),
    "geopoint": _degrees,
    "epoch": lambda draw: draw.choice((1_700_000_000_123, "1700000000000", "253402300799999", 1e12)),
}
_TEXTS = (
    "", "hello", " padded ", "it's {{ x }}", "\x01\x02", "😀 e\u0301", "a" * 300, "{}", "[]", '["a"]', "null", "\\u0000", "\\",
    12, 1.50, True, None, "line\nbreak", "\u00a0", "\u2028x", "%s", "[x", "{x", "x\u00a0", "\u00a0x", "5 ",
)  # fmt: skip
_ODD_TEXTS = (
    *(each for each in _TEXTS if isinstance(each, str)),
    "NaN", "Infinity", "-inf", "nan", "1_000", "1,5", "0x10", "١٢", "1e100", "1e-99", "1E+9", "9" * 18, "9" * 19, "9" * 300, "9" * 301,
    "-", "+", ".", "1.5.", "--1", "1-", "+-1", "2024-02-30", "2023-02-29", "2024-02-29", "0000-01-01", "10000-01-01", "2024-2-1", "2024-13-01",
    "2024-01-01T00:00:00", "2024-01-01T24:00:00Z", "2024-01-01t00:00:00z", "2024-01-01T00:00:60Z", "2024-01-01  00:00Z",
    "0001-01-01T00:00+14:59", "9999-12-31T23:59:59.999999999-14:59", "2024-01-01T10:00:00+15:00", "2024-01-01T10:00:00 +01",
    "2024-01-01T10:00Z\n", "23:59:59.9999999", "24:00", "1:00", "12:00 PM", "now", "today", "epoch", "infinity", "yesterday",
    "tr", "ye", "of", "TRUE", "ﬀ", "91 0", "-90 180", "90 -180.0000000000001", "1", "1 2 3 4 5", "1,2", "1 x", "NaN NaN", "1 2 -3 .5",
    "1.2833300000000001 0.31627999999999997", "1e1 2", "+1 +2", "99999999999", "100000000000", "253402300800000", "-1700000000000",
    "1\n2", "a\u00a0b", "a\u2003b", "a\x1fb", "\x1fa",
)  # fmt: skip
_ODD_SCALARS = (
    None, True, False, 0, -1, 1.5, 10**30, 1e300, 1e-300, 1e22, -0.0, 123456789012345678, 1234567890123456789,
    1_700_000_000_000, 253402300799999.5, 5e-324, "", " ",
)  # fmt: skip


# Reports.


def fitting_fields(draw: Random, definition: FormDefinition) -> dict[str, Any]:
    """The fields of a report as the app fills the form in; some are not asked."""
    return _filled(draw, definition, (), lambda kind: fitting_value(draw, kind))


def odd_fields(draw: Random, definition: FormDefinition) -> Any:
    """Fields that do not fit: of other kinds and shapes, groups that are missing or texts, keys that nobody knows."""
    if draw.random() < 0.05:
        return odd_value(draw)
    fields = _filled(
        draw, definition, (), lambda kind: odd_value(draw) if draw.random() < 0.5 else fitting_value(draw, kind)
    )
    for _ in range(draw.randint(0, 4)):
        _spoil(draw, fields)
    return fields


def _filled(draw: Random, definition: FormDefinition, above: Path, value: Callable[[str], Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    below: dict[str, list[FormField]] = {}
    for each in definition.fields:
        if each.path[: len(above)] == above and len(each.path) > len(above):
            below.setdefault(each.path[len(above)], []).append(each)
    for name, inside in below.items():
        path = (*above, name)
        if draw.random() < 0.15:
            continue
        if path in definition.repeats:
            fields[name] = [_filled(draw, definition, path, value) for _ in range(draw.choice((0, 1, 1, 2, 3)))]
        elif all(each.path == path for each in inside):
            fields[name] = value(inside[0].type)
        else:
            fields[name] = _filled(draw, definition, path, value)
    return fields


def _spoil(draw: Random, fields: Any) -> None:
    """Changes something at some depth."""
    inner = [
        each for each in (fields.values() if isinstance(fields, dict) else fields) if isinstance(each, dict | list)
    ]
    if inner and draw.random() < 0.6:
        _spoil(draw, draw.choice(inner))
    elif isinstance(fields, list):
        if fields and draw.random() < 0.6:
            fields[draw.randrange(len(fields))] = odd_value(draw)
        else:
            fields.append(odd_value(draw))
    elif fields and draw.random() < 0.6:
        name = draw.choice(list(fields))
        one = fields[name]
        # What stands in a list of one may stand there by itself.
        fields[name] = one[0] if isinstance(one, list) and one and draw.random() < 0.5 else odd_value(draw)
    else:
        fields[draw.choice((*PLAIN_NAMES, *HOSTILE_NAMES))] = odd_value(draw)


def random_report(draw: Random, definition: FormDefinition, uuid: str, odd: float = 0.5) -> dict[str, Any]:
    """A report of a form.

    :param odd: how many of a hundred, by hundreds, do not fit.
    """
    report: dict[str, Any] = {
        "_id": uuid,
        "type": "data_record",
        "form": definition.code,
        "reported_date": draw.choice((1_700_000_000_000, 1_600_000_000_000, "soon", None)),
        "contact": draw.choice(({"_id": "c", "parent": {"_id": "p"}}, "c", None)),
        "form_version": draw.choice(
            (
                None,
                "1.2 ",
                3,
                " ",
                {"time": 1_700_000_000_000, "sha256": "ab"},
                {"sha256": "ab"},
                {"time": []},
                [1],
                True,
            )
        ),
    }
    if draw.random() > 0.03:
        report["fields"] = odd_fields(draw, definition) if draw.random() < odd else fitting_fields(draw, definition)
    return report


class Life:
    """Reports of several forms through rounds of new ones, edits, deletes, changes of form and shrinking lists.

    :param versions: definitions by which reports are filled, for each code.
    """

    def __init__(self, draw: Random, versions: dict[str, list[FormDefinition]], prefix: str = "r") -> None:
        self._draw, self._versions, self._prefix = draw, versions, prefix
        self._count = 0
        self.living: dict[str, dict[str, Any]] = {}

    def round(self, new: int) -> list[dict[str, Any]]:
        """What is written next; a document with ``_deleted`` is a tombstone.

        :param new: how many new reports of each form.
        """
        written = []
        for uuid, report in list(self.living.items()):
            if (change := self._draw.random()) < 0.1:
                written.append({"_id": uuid, "_deleted": True})
            elif change < 0.35:
                written.append(self._edited(report))
        for code in self._versions:
            for _ in range(new):
                self._count += 1
                written.append(self._report(code, f"{self._prefix}{self._count}"))
        for document in written:
            if document.get("_deleted"):
                del self.living[document["_id"]]
            else:
                self.living[document["_id"]] = document
        return written

    def _report(self, code: str, uuid: str) -> dict[str, Any]:
        return random_report(self._draw, self._draw.choice(self._versions[code]), uuid)

    def _edited(self, report: dict[str, Any]) -> dict[str, Any]:
        kind = self._draw.choice(("anew", "other form", "no report", "shorter", "shorter"))
        if kind == "anew":
            return self._report(
                report["form"] if report["form"] in self._versions else next(iter(self._versions)), report["_id"]
            )
        if kind == "other form":
            return self._report(self._draw.choice(list(self._versions)), report["_id"])
        if kind == "no report":
            return {**report, "type": "person"}
        return {**report, "fields": _shorter(report.get("fields"))}


def _shorter(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shorter(one) for name, one in value.items()}
    return [_shorter(one) for one in value[:-1]] if isinstance(value, list) else value
