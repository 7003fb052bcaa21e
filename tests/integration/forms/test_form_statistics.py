"""What reports hold is counted as an independent count in Python has it."""

from __future__ import annotations

import random
import re
from collections import Counter
from datetime import date

import pytest

from cht_sync.forms import statistics
from tests.integration.forms.conftest import HOSTILE, NAMES, store_definition, xform

pytestmark = pytest.mark.integration

BLANKS = " \t\n\r\f\v\u00a0\u2003"
DAY = r"(\d{4})-(\d\d)-(\d\d)"


def is_day(text):
    found = re.match(DAY, text)
    if not found:
        return False
    try:
        date(*map(int, found.groups()))
    except ValueError:
        return False
    return True


# Written from the rules of the documentation, not from the SQL.
FITS = {
    "bigint": lambda text: re.fullmatch(r"[+-]?[0-9]{1,18}(\.0*)?", text) is not None,
    "numeric": lambda text: re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,2})?", text) is not None,
    "date": lambda text: re.fullmatch(DAY, text) is not None and is_day(text),
    "boolean": lambda text: text.lower() in {"true", "t", "yes", "y", "on", "1", "false", "f", "no", "n", "off", "0"},
    "time": lambda text: (
        re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)? ?(Z|[+-]\d\d(:?\d\d)?)?", text) is not None
    ),
}
VALUES = [
    "1", "007", " 12 ", "1.0", "1.5", "-3", "abc", "", " ", "\u00a0", None, 5, 2.5, True, False, [], {}, "2024-02-29",
    "2023-02-29", "2024-01-01", "yes", "No", "10:15", "10:15:30.123+03:00", "25:00", "a b", "9" * 18, "9" * 19,
    "'; drop table v1.form; --", "1e5", "😀", "100%", "{0}", "\\",
]  # fmt: skip
ODD = [*VALUES, ["a", "b"], [1], [{"x": "1"}], {"k": "1"}, {"k": {"l": "2"}}, [["a"]]]


def said(value):
    """The text of a value, or None where it says nothing; lists and objects as they are."""
    if value is None or value in ([], {}):
        return None
    if isinstance(value, (list, dict)):
        return value
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text.strip(BLANKS) or None


class Expected:
    """Counts of its own, from the JSON."""

    def __init__(self, declared, repeats=()):
        self.declared, self.repeats = declared, set(repeats)
        self.groups = {path[:end] for path in [*declared, *repeats] for end in range(1, len(path))}
        self.filled, self.values = Counter(), {}

    def look(self, value, path=()):
        if path in self.repeats:
            for element in value if isinstance(value, list) else [value]:
                if isinstance(element, dict):
                    self.inside(element, path)
        elif path in self.declared or (path not in self.groups and path and not isinstance(value, dict)):
            self.leaf(value, path)
        elif isinstance(value, dict):
            self.inside(value, path)

    def inside(self, value, path):
        for key, below in value.items():
            if said(below) is not None:
                self.look(below, (*path, key))

    def leaf(self, value, path):
        if said(value) is not None:
            self.filled[path] += 1
            self.values.setdefault(path, []).append(said(value))

    def failing(self, path, kind):
        return sum(1 for each in self.values[path] if isinstance(each, str) and not FITS[kind](each))


def report(number, form, fields, **more):
    return {"_id": f"r{number}", "type": "data_record", "form": form, "fields": fields, **more}


def test_counts_are_those_of_an_independent_count(keeper, save, monkeypatch):
    monkeypatch.setattr(statistics, "FIRST", 7)
    monkeypatch.setattr(statistics, "MOST_VALUES", 10)
    fields = ("n int", "d date", "t", "g/b boolean", "g/c time", "kids*/age int", "kids*/toys*/price decimal")
    store_definition(keeper, "visit", xform(*fields))
    dice = random.Random(18)

    def some(depth=0):
        return dice.choice(ODD if depth == 0 else VALUES)

    def toys():
        return [{"price": some(), "colour": some(1)} for _ in range(dice.randrange(3))]

    def kids():
        listed = [{"age": some(1), "toys": toys(), "new": some(1)} for _ in range(dice.randrange(4))]
        return dice.choice([listed, listed, {"age": "3"}, "none", [*listed, "odd", None]])

    documents = [
        report(
            number,
            "visit",
            {
                "n": some(),
                "d": some(),
                "t": some(),
                "g": dice.choice([{"b": some(), "c": some(1)}, "odd", []]),
                "kids": kids(),
                "extra": some(),
                "also": {"deep": {"er": some(1)}},
            },
        )
        for number in range(200)
    ]
    expected = Expected(
        [("n",), ("d",), ("t",), ("g", "b"), ("g", "c"), ("kids", "age"), ("kids", "toys", "price")],
        [("kids",), ("kids", "toys")],
    )
    for each in documents:
        expected.look(each["fields"])
    for start in range(0, 200, 50):
        save(*documents[start : start + 50], {"_id": f"p{start}", "type": "person", "name": "x"})
        assert keeper.count()
    form = keeper.forms()["visit"]
    assert form.reports == 200
    assert {path: number for path, number in form.filled.items() if number} == expected.filled
    assert form.undeclared == expected.filled.keys() - set(expected.declared)
    kinds = {("n",): "bigint", ("d",): "date", ("g", "b"): "boolean", ("g", "c"): "time", ("kids", "age"): "bigint",
             ("kids", "toys", "price"): "numeric"}  # fmt: skip
    for path, kind in kinds.items():
        assert form.failing[path].get(kind, 0) == expected.failing(path, kind), (path, kind)
    for path, values in expected.values.items():
        nested = [each for each in values if not isinstance(each, str)]
        assert form.failing.get(path, {}).get("text", 0) == len(nested)
        for kind in FITS:
            # Of types that nobody declares only whether some value fails.
            assert bool(form.failing.get(path, {}).get(kind)) == bool(expected.failing(path, kind)), (path, kind)


def test_what_casts_is_known_of_fields_that_say_they_are_text(keeper, save):
    store_definition(keeper, "visit", xform("sum", "when", "where", "ms", "many"))
    save(
        report(
            1,
            "visit",
            {
                "sum": "1",
                "when": "2024-01-01T10:00:00.000+03:00",
                "where": "-1.2 36.8 0 10",
                "ms": "1700000000000",
                "many": ["a", "b"],
            },
        ),
        report(2, "visit", {"sum": 12, "when": "2024-01-01T10:00:00Z", "where": "1 2", "ms": 1700000000001}),
    )
    keeper.count()
    form = keeper.forms()["visit"]
    fit = {path[0]: {*statistics.KINDS_TO_TRY, "text[]"} - form.failing.get(path, {}).keys() for path in form.filled}
    assert {"bigint", "numeric"} <= fit["sum"]
    assert "timestamptz" in fit["when"]
    assert "date" not in fit["when"]
    assert "geopoint" in fit["where"]
    assert {"epoch", "bigint"} <= fit["ms"]
    assert "text[]" in fit["many"]
    assert form.failing[("many",)] == {"text": 1}


def test_reports_of_a_form_that_nobody_defines(keeper, save):
    save(
        report(1, "lost", {"a": {"b": "1"}, "kids": [{"x": "1"}], "c": ""}),
        report(2, "lost", {"a": {"b": "2"}}),
        report(3, "lost", "odd"),
        report(4, None, {"a": "1"}),
        report(5, {"x": 1}, {"a": "1"}),
        report(6, "x" * 300, {"a": "1"}),
        report(7, "", {"a": "1"}),
        {"_id": "r8", "type": "data_record", "form": "no fields"},
        {"_id": "r9", "type": "data_record", "form": "lost", "fields": {"z": "1"}, "_deleted": True},
        {"_id": "r10", "type": "task", "form": "lost", "fields": {"z": "1"}},
    )
    assert keeper.count()
    forms = keeper.forms()
    assert forms.keys() == {"lost", "no fields"}
    assert forms["lost"].reports == 3
    assert forms["lost"].undeclared == {("a", "b"), ("kids",)}
    assert forms["lost"].filled == {("a", "b"): 2, ("kids",): 1}
    assert all(each.hidden and each.type == "string" for each in forms["lost"].definition.fields)

    # Its definition comes: what was a value is a repeat now, and has no name of a column.
    with keeper.session.transaction("name") as cursor:
        keeper.catalogue.save_columns(cursor, "lost", {("kids",): "kids", ("a", "b"): "a__b"})
    store_definition(keeper, "lost", xform("a/b int", "kids*/x int", "new"))
    form = keeper.forms()["lost"]
    assert form.undeclared == set()
    assert form.columns == {("a", "b"): "a__b"}
    assert form.filled == {("a", "b"): 2, ("kids", "x"): 0, ("new",): 0}


def test_nothing_is_counted_twice_and_edits_count_again(keeper, save, monkeypatch):
    monkeypatch.setattr(statistics, "FIRST", 1)
    monkeypatch.setattr(statistics, "MOST", 2)
    save(*(report(number, "visit", {"a": "1"}) for number in range(5)))
    assert keeper.count()
    assert keeper.count()
    assert keeper.forms()["visit"].reports == 5
    save(report(0, "visit", {"a": "2"}))
    assert keeper.count()
    assert keeper.forms()["visit"].reports == 6
    save(report(6, "visit", {"a": "1"}))
    assert not keeper.count(seconds=-1)
    assert keeper.forms()["visit"].reports == 6


def test_hostile_keys_and_codes(keeper, save):
    keys = [*HOSTILE, "A", "a", "ä" * 150, "*", "", " "]
    save(*(report(number, code, {key: {key: "1"} for key in keys}) for number, code in enumerate(HOSTILE)))
    assert keeper.count()
    forms = keeper.forms()
    assert forms.keys() == set(HOSTILE)
    for form in forms.values():
        assert form.filled == {(key, key): 1 for key in keys}


def test_keys_that_are_ids_do_not_fill_the_catalogue(keeper, save, monkeypatch):
    monkeypatch.setattr(statistics, "MOST_UNDECLARED", 10)
    monkeypatch.setattr(statistics, "MOST_FORMS", 3)
    save(*(report(number, f"f{number % 5}", {f"k{number}": "1", "k" * 2_000: "1"}) for number in range(100)))
    assert keeper.count()
    save(report(101, "f1", {"one more": "1"}), report(102, "f4", {"a": "1"}))
    assert keeper.count()
    forms = keeper.forms()
    assert forms.keys() == {"f0", "f1", "f2"}
    assert all(len(form.undeclared) == 10 for form in forms.values())
    assert forms["f1"].reports == 21


def test_a_document_that_cannot_be_counted_is_passed_over(keeper, save, monkeypatch, caplog):
    save(*(report(number, "visit", {"a": "1"}) for number in range(30)))
    broken = "where 1 / (said.fields ->> 'a')::int > 0 and "
    monkeypatch.setattr(
        statistics, "_OF_REPORTS", statistics._OF_REPORTS.replace("where said.type", f"{broken} said.type")
    )
    save(report(30, "visit", {"a": "0"}), report(31, "visit", {"a": "1"}))
    assert keeper.count()
    assert keeper.forms()["visit"].reports == 31
    assert "not counted among reports" in caplog.text


def test_no_value_is_kept(keeper, save, database):
    save(*(report(number, "visit", {"name": f"Secret{number}", "kids": [{"a": f"Secret{number}"}]})
           for number in range(9)))  # fmt: skip
    keeper.count()
    for table in ("form", "form_field", "form_definition", "couchdb_form_progress"):
        assert database.value(f"select count(*) from v1.{table} t where t::text like '%%Secret%%'") == 0
    assert NAMES.table
