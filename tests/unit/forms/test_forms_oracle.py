"""The oracle of form tables, against what was written by hand."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest

from cht_sync.forms.definition import FormDefinition, FormField
from tests.oracle.forms import BLANKS, FormOracle


def definition(*fields, repeats=()):
    return FormDefinition("f", "F", "1", tuple(fields), tuple(repeats))


def tables(form, fields, kinds=None, exclude=(), **more):
    document = {"_id": "r", "type": "data_record", "form": "f", "fields": fields, **more}
    return FormOracle(form, kinds, exclude).rows([json.dumps(document)])


def row(form, fields, **more):
    (only,) = tables(form, fields, **more)[()]
    return only


def said(kind, value):
    found = row(definition(FormField(("x",))), {"x": value}, kinds={("x",): kind})
    cells = list(found.cells.values())
    return (cells if kind == "geopoint" else cells[0]), [reason for _, _, reason in found.rejects]


MICROS = 1_000_000
DAY = 86_400 * MICROS


@pytest.mark.parametrize(
    ("kind", "value", "cell"),
    [
        ("text", " a ", " a "),
        ("text", 1.50, "1.5"),
        ("text", 1e22, "10000000000000000000000"),
        ("text", -0.0, "0.0"),
        ("text", True, "true"),
        ("bigint", "\u00a0+12.00\n", 12),
        ("bigint", 7, 7),
        ("bigint", "-999999999999999999", -999999999999999999),
        ("numeric", "1.50", Decimal("1.50")),
        ("numeric", ".5e-3", Decimal("0.0005")),
        ("numeric", "9" * 300, Decimal("9" * 300)),
        ("date", "2024-02-29", date(2024, 2, 29)),
        ("timestamptz", "1970-01-02T00:00:00Z", DAY),
        ("timestamptz", "1970-01-02 01:00:00.5+0100", DAY + MICROS // 2),
        ("timestamptz", "1970-01-01T00:00-01", 3600 * MICROS),
        ("time", "10:30", 37_800 * MICROS),
        ("time", "00:00:01.000001+03:00", MICROS + 1),
        ("boolean", " YES", True),
        ("boolean", 0, False),
        ("text[]", "a  b\tc", ["a", "b", "c"]),
        ("text[]", "a\u00a0b", ["a\u00a0b"]),
        ("text[]", ["a b ", 1, None, "", True], ["a b", "1", "true"]),
        ("geopoint", "1.5 -2", [1.5, -2.0, None, None]),
        ("geopoint", "1 2 3 4", [1.0, 2.0, 3.0, 4.0]),
        ("epoch", "1700000000123", 1_700_000_000 * MICROS),
    ],
)
def test_a_value_that_casts(kind, value, cell):
    found, reasons = said(kind, value)
    assert found == cell
    assert type(found) is type(cell)
    assert reasons == []


@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        ("text", ["a"], "a list or an object"),
        ("text", {"a": 1}, "a list or an object"),
        ("bigint", "1.5", "not a whole number"),
        ("bigint", "9" * 19, "not a whole number"),
        ("bigint", True, "not a whole number"),
        ("bigint", [1], "a list or an object"),
        ("numeric", "NaN", "not a number"),
        ("numeric", "1e100", "not a number"),
        ("numeric", 1e300, "not a number"),
        ("date", "2023-02-29", "not a date"),
        ("date", "2024-01-01T00:00:00Z", "not a date"),
        ("date", "0000-01-01", "not a date"),
        ("timestamptz", "2024-01-01T00:00:00", "not a time with its zone"),
        ("timestamptz", "2024-01-01T00:00:00+15:00", "not a time with its zone"),
        ("time", "24:00", "not a time"),
        ("boolean", "maybe", "neither true nor false"),
        ("text[]", [["a"]], "not a list of choices"),
        ("text[]", {"a": 1}, "not a list of choices"),
        ("geopoint", "91 0", "not a position"),
        ("geopoint", "1", "not a position"),
        ("geopoint", "1 2 3 4 5", "not a position"),
        ("epoch", "99999999999", "not a date in milliseconds"),
    ],
)
def test_a_value_that_does_not(kind, value, reason):
    found, reasons = said(kind, value)
    assert found in (None, [None] * 4)
    assert reasons == [reason]


@pytest.mark.parametrize("value", [None, "", BLANKS, [], {}])
@pytest.mark.parametrize("kind", ["text", "bigint", "text[]", "date"])
def test_nothing_is_said(kind, value):
    assert said(kind, value) == (None, [])


def test_groups_and_keys_that_nobody_knows():
    form = definition(FormField(("g", "h", "x")), FormField(("n",), note=True), FormField(("p", "q")))
    found = row(form, {"g": {"h": {"x": "a"}, "y": {"b": [1.0], "aa": 'q"'}}, "n": "OK", "p": "text", "z": " "})
    assert found.cells == {("g", "h", "x"): "a", ("p", "q"): None}
    assert found.rejects == [
        ("g.y", '{"b": [1.0], "aa": "q\\""}', "no field of the form"),
        ("p", "text", "not a group"),
    ]
    assert row(form, [1]).rejects == [("fields", "[1]", "not a group")]
    assert row(form, None).rejects == []
    assert row(form, {"z": "x" * 300}).rejects == [("z", "x" * 200, "no field of the form")]


def test_repeats_in_repeats():
    form = definition(FormField(("k", "age"), "int"), FormField(("k", "t", "x")), repeats=[("k",), ("k", "t")])
    found = tables(form, {"k": [{"age": "1"}, "odd", None, {}, {"t": {"x": "a"}, "age": "old"}, {"t": "no", "u": 1}]})
    assert found[()][0].rejects == [("k.2", "odd", "not an object")]
    assert [(each.key, each.cells, each.rejects) for each in found[("k",)]] == [
        (("r", 1), {("k", "age"): 1}, []),
        (("r", 5), {("k", "age"): None}, [("k.5.age", "old", "not a whole number")]),
        (("r", 6), {("k", "age"): None}, [("k.6.t", "no", "not a list"), ("k.6.u", "1", "no field of the form")]),
    ]
    assert [(each.key, each.cells) for each in found["k", "t"]] == [(("r", 5, 1), {("k", "t", "x"): "a"})]
    assert tables(form, {"k": 5})[()][0].rejects == [("k", "5", "not a list")]


def test_what_is_left_out_by_rule():
    form = definition(
        FormField(("inputs", "contact", "_id")),
        FormField(("inputs", "source")),
        FormField(("g", "r_x")),
        FormField(("g", "y")),
    )
    said = {
        "inputs": {"contact": {"_id": "c", "more": 1}, "user": {"a": 1}, "source": "s"},
        "g": {"r_x": "1", "r_z": "2", "y": "3"},
    }
    found = row(form, said, exclude=["*/r_*"])
    assert found.cells == {("inputs", "source"): "s", ("g", "y"): "3"}
    assert found.rejects == []


def test_a_value_of_one_version_is_a_group_or_a_list_of_another():
    form = definition(
        FormField(("a",)), FormField(("a", "b")), FormField(("k",)), FormField(("k", "x")), repeats=[("k",)]
    )
    found = tables(form, {"a": {"b": "1"}, "k": [{"x": "2"}]})
    assert found[()][0].cells == {("a",): None, ("a", "b"): "1", ("k",): None}
    assert found["k",][0].cells == {("k", "x"): "2"}
    found = tables(form, {"a": "1", "k": "2"})
    assert found[()][0].cells == {("a",): "1", ("a", "b"): None, ("k",): "2"}
    assert found[()][0].rejects == []
    assert tables(form, {"a": ["1"]})[()][0].rejects == [("a", '["1"]', "a list or an object")]


def test_which_documents_are_reports_of_the_form():
    oracle = FormOracle(definition(FormField(("x",))))
    documents = [
        {"_id": "1", "type": "data_record", "form": "f", "form_version": {"time": 5}},
        {"_id": "2", "type": "data_record", "form": "F"},
        {"_id": "3", "type": "person", "form": "f"},
        {"_id": "4", "type": "data_record", "form": ["f"]},
        {"_id": "5", "type": "data_record", "form": "f", "form_version": " 1 "},
    ]
    rows = oracle.rows(map(json.dumps, documents))[()]
    assert [(each.key, each.version) for each in rows] == [(("1",), "5"), (("5",), " 1 ")]
