from cht_sync.forms.definition import Choice
from cht_sync.forms.sms_form import read_sms_forms

FORM = {
    "meta": {"code": "V", "label": {"en": "Visit", "sw": "Ziara"}},
    "fields": {
        "last": {"type": "string"},
        "second": {"type": "integer", "position": 1, "labels": {"tiny": {"en": "n"}, "short": {"en": "Number"}}},
        "first": {"type": "date", "position": 0, "labels": {"description": {"en": "When?"}, "short": "x"}},
        "a.b": {"type": "boolean", "position": 2, "labels": {"short": "Yes?"}},
        "which": {"type": "custom", "position": 3, "list": [["1", {"en": "One"}], ["2"], "odd", [], [3, "Three"]]},
    },
}


def test_what_an_sms_form_asks():
    form = read_sms_forms({"forms": {"V": FORM}})["V"]
    assert (form.code, form.title, form.version, form.labels) == ("V", "Visit", None, {"en": "Visit", "sw": "Ziara"})
    assert [each.path for each in form.fields] == [("first",), ("second",), ("a", "b"), ("which",), ("last",)]
    assert [each.type for each in form.fields] == ["epoch", "int", "boolean", "custom", "string"]
    assert [each.labels for each in form.fields] == [{"en": "When?"}, {"en": "Number"}, {"": "Yes?"}, {}, {}]
    assert form.fields[3].choices == (Choice("1", {"en": "One"}), Choice("2", {}), Choice("3", {"": "Three"}))


def test_what_is_not_understood_leaves_out_that_part_alone():
    assert read_sms_forms(None) == read_sms_forms({}) == read_sms_forms({"forms": []}) == {}
    odd = {
        "A": {"meta": 1, "fields": 2},
        "B": {"fields": {"x": 3, "y": {"position": "1", "labels": [], "list": {}, "type": None}}},
        "C": "no form",
    }
    forms = read_sms_forms({"forms": odd})
    assert forms.keys() == {"A", "B"}
    assert forms["A"].fields == ()
    assert [(each.path, each.type) for each in forms["B"].fields] == [(("x",), "string"), (("y",), "string")]


def test_fields_with_odd_names_are_kept_or_left_out():
    fields = {"": {}, ".": {}, "a..b": {}, "x" * 2_000: {}, "A": {}, "a": {}}
    form = read_sms_forms({"forms": {"V": {"fields": fields}}})["V"]
    assert [each.path for each in form.fields] == [("",), ("", ""), ("a", "", "b"), ("A",), ("a",)]
