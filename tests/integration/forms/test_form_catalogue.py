"""Definitions of forms reach the catalogue, and follow what documents say."""

import pytest

from cht_sync.forms.catalogue import Catalogue
from tests.integration.forms.conftest import HOSTILE, NAMES, xform

pytestmark = pytest.mark.integration


def paths(form):
    return ["/".join(each.path) for each in form.definition.fields]


def test_versions_of_a_form_are_one(new_couch, keeper, database):
    couch = new_couch()
    couch.define("visit", xform("a int", "g/b date", "kids*/name", version="1"), title="Visit")
    couch.copy()
    assert keeper.read()
    first = keeper.forms()["visit"]
    assert (first.kind, first.definition.title, first.versions) == ("report", "Visit", ("1",))
    assert paths(first) == ["a", "g/b", "kids/name"]
    assert first.definition.repeats == (("kids",),)
    assert [each.type for each in first.definition.fields] == ["int", "date", "string"]
    assert first.definition.fields[2].repeat == ("kids",)
    assert first.definition.fields[0].labels == {"": "What is a?"}

    couch.define("visit", xform("a decimal", "c", version="2"), title="Visit")
    couch.copy()
    assert keeper.read()
    second = keeper.forms()["visit"]
    assert second.versions == ("1", "2")
    assert paths(second) == ["a", "c", "g/b", "kids/name"]
    assert second.definition.fields[0].type == "decimal"
    assert second.gone.keys() == {("g", "b"), ("kids", "name")}

    # Back to what it said before: nothing has to be read again, the fields are there again.
    couch.define("visit", xform("a int", "g/b date", "kids*/name", version="1"), title="Visit")
    couch.copy()
    keeper.read()
    third = keeper.forms()["visit"]
    assert third.gone.keys() == {("c",)}
    assert third.versions == ("2", "1")
    assert database.value("select count(*) from v1.form_definition") == 2


def test_what_is_known_is_not_asked_for_again(new_couch, keeper, monkeypatch):
    couch = new_couch()
    couch.define("visit", xform("a int"))
    couch.copy()
    assert keeper.read()
    monkeypatch.setattr("cht_sync.couchdb.hook.CouchDBHook.attachment", lambda *_: pytest.fail("asked again"))
    assert keeper.read()


def test_a_deleted_form_is_removed_and_comes_back(new_couch, keeper):
    couch = new_couch()
    couch.define("visit", xform("a int"))
    couch.define("other", xform("a int"))
    couch.copy()
    keeper.read()
    couch.delete("form:visit")
    couch.copy()
    keeper.read()
    forms = keeper.forms()
    assert forms["visit"].removed_at
    assert paths(forms["visit"]) == ["a"]
    assert forms["visit"].gone == {}
    assert forms["other"].removed_at is None
    couch.define("visit", xform("a int"))
    couch.copy()
    keeper.read()
    assert keeper.forms()["visit"].removed_at is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<h:html", "it is no XML in line 1"),
        (b"<a/>", "it has no primary instance: it is no XForm"),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "it has a document type"),
        (b"<a>" + b" " * 6_000_000 + b"</a>", "it has more than 5242880 bytes"),
    ],
)
def test_a_broken_form_is_a_finding(new_couch, keeper, content, sentence):
    couch = new_couch()
    couch.define("broken", content)
    couch.define("good", xform("a int"))
    couch.copy()
    assert keeper.read()
    forms = keeper.forms()
    assert forms["broken"].error.startswith(f"{couch.source}: {sentence}")
    assert forms["good"].error is None
    couch.define("broken", xform("a int"))
    couch.copy()
    keeper.read()
    assert keeper.forms()["broken"].error is None


def test_a_form_that_breaks_keeps_what_it_had(new_couch, keeper):
    couch = new_couch()
    couch.define("visit", xform("a int"))
    couch.copy()
    keeper.read()
    couch.define("visit", b"<h:html")
    couch.copy()
    keeper.read()
    form = keeper.forms()["visit"]
    assert (paths(form), form.gone, form.removed_at) == (["a"], {}, None)
    assert "it is no XML" in form.error


def test_a_form_without_an_attachment(new_couch, keeper):
    couch = new_couch()
    couch.write({"_id": "form:empty", "type": "form", "title": "Empty"})
    couch.write({"_id": "form:no_form", "type": "other"})
    couch.copy()
    assert keeper.read()
    forms = keeper.forms()
    assert forms.keys() == {"empty"}
    assert forms["empty"].error == f"{couch.source}: its document has no XForm as attachment"


def test_a_couchdb_that_does_not_answer_leaves_it_for_the_next_time(new_couch, keeper, monkeypatch):
    couch = new_couch()
    couch.define("visit", xform("a int"))
    couch.write({"_id": "settings", "settings": {"forms": {"SMS": {"fields": {"n": {"type": "integer"}}}}}})
    couch.copy()
    with monkeypatch.context() as patch:
        patch.setenv("COUCHDB_PORT", "9")
        assert not keeper.read()
        assert keeper.forms().keys() == {"SMS"}
    with monkeypatch.context() as patch:
        patch.setenv("COUCHDB_PASSWORD", "wrong")
        assert not keeper.read()
    assert keeper.read()
    assert keeper.forms().keys() == {"SMS", "visit"}
    assert keeper.forms()["visit"].error is None


def test_bounds_of_one_call(new_couch, keeper):
    couch = new_couch()
    for number in range(3):
        couch.define(f"f{number}", xform("a int"))
    couch.copy()
    assert not keeper.read(most=1)
    assert len(keeper.forms()) == 1
    assert not keeper.read(seconds=-1)
    assert keeper.read()
    assert len(keeper.forms()) == 3


def test_two_sources_with_the_same_form(new_couch, keeper):
    first, second = new_couch(), new_couch()
    first.define("visit", xform("a int", "b", version="1"))
    first.copy()
    second.define("visit", xform("a int", "c", version="2"))
    second.copy()
    assert keeper.read()
    form = keeper.forms()["visit"]
    assert set(paths(form)) == {"a", "b", "c"}
    assert form.gone == {}
    second.delete("form:visit")
    second.copy()
    keeper.read()
    form = keeper.forms()["visit"]
    assert form.gone.keys() == {("c",)}
    assert form.removed_at is None


def test_sms_forms(new_couch, keeper, database):
    couch = new_couch()
    form = {
        "meta": {"code": "P", "label": {"en": "Pregnancy", "sw": "Ujauzito"}},
        "fields": {
            "weeks": {"type": "integer", "position": 1, "labels": {"short": {"en": "Weeks"}}},
            "name": {"type": "string", "position": 0},
            "lmp.date": {"type": "date", "position": 2},
        },
    }
    couch.write({"_id": "settings", "settings": {"forms": {"P": form, "Q": "odd"}}})
    couch.copy()
    assert keeper.read()
    found = keeper.forms()
    assert found.keys() == {"P"}
    assert (found["P"].kind, found["P"].definition.labels) == ("sms", {"en": "Pregnancy", "sw": "Ujauzito"})
    assert paths(found["P"]) == ["name", "weeks", "lmp/date"]
    assert [each.type for each in found["P"].definition.fields] == ["string", "int", "epoch"]

    # The settings change and the form does not; then the form, then an XForm takes its place.
    rev = couch.session.get(f"{couch.url}/settings").json()["_rev"]
    couch.write({"_id": "settings", "_rev": rev, "settings": {"forms": {"P": form}, "more": 1}})
    couch.copy()
    keeper.read()
    assert database.value("select count(*) from v1.form_definition where code = 'P'") == 1
    couch.define("P", xform("weeks int", "place"))
    couch.copy()
    keeper.read()
    found = keeper.forms()["P"]
    assert (found.kind, found.gone) == ("report", {})
    assert set(paths(found)) == {"name", "weeks", "lmp/date", "place"}
    rev = couch.session.get(f"{couch.url}/settings").json()["_rev"]
    couch.write({"_id": "settings", "_rev": rev, "settings": {"forms": {}}})
    couch.copy()
    keeper.read()
    assert keeper.forms()["P"].gone.keys() == {("name",), ("lmp", "date")}


def test_hostile_codes_and_names(new_couch, keeper):
    couch = new_couch()
    couch.write(
        *(
            {"_id": f"form:{number}", "type": "form", "internalId": code, "title": code}
            for number, code in enumerate(HOSTILE)
        ),
        {"_id": "settings", "settings": {"forms": {code: {"fields": {code: {}}} for code in HOSTILE}}},
    )
    couch.copy()
    assert keeper.read()
    forms = keeper.forms()
    assert forms.keys() == set(HOSTILE)
    assert all([each.path for each in forms[code].definition.fields] == [tuple(code.split("."))] for code in HOSTILE)
    with keeper.session.transaction("name columns") as cursor:
        for code in HOSTILE:
            keeper.catalogue.save_columns(cursor, code, {(): "t", (code,): "c"})
    assert all(form.columns == {(): "t", (form.code,): "c"} for form in keeper.forms().values())


def test_names_once_given_stay(new_couch, keeper, database):
    couch = new_couch()
    couch.define("visit", xform("a int", "place geopoint"))
    couch.copy()
    keeper.read()
    given = {(): "form_visit", ("a",): "a", ("place", "*latitude"): "place__latitude", ("place", "*longitude"): "l"}
    with keeper.session.transaction("name columns") as cursor:
        keeper.catalogue.save_columns(cursor, "visit", given)
        keeper.catalogue.save_columns(cursor, "visit", {("b",): "b"})
        keeper.catalogue.save_columns(cursor, "no such form", {("b",): "b"})
        assert [each.code for each in Catalogue(NAMES).read(cursor, ["visit", "x"])] == ["visit"]
    assert keeper.forms()["visit"].columns == given | {("b",): "b"}
    assert database.rows("select path, column_name from v1.form_field order by position") == [
        (["a"], "a"),
        (["place"], "place__latitude, l"),
    ]


def test_another_name_of_the_attachment(new_couch, keeper):
    couch = new_couch()
    couch.define("visit", xform("a int"), attachment="visit.xml")
    couch.define("both", xform("b int"))
    couch.copy()
    keeper.read()
    assert paths(keeper.forms()["visit"]) == ["a"]
