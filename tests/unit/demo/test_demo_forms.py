"""The forms of the generated deployment: read as those of a server are, and fitted by its reports."""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import pytest

from cht_sync.forms.definition import FormDefinition, FormField
from cht_sync.forms.merge import merge_definitions
from cht_sync.forms.sms_form import read_sms_forms
from cht_sync.forms.xform import read_xform
from include.demo.forms.published import second_version
from include.demo.generator import generate

Doc = dict[str, Any]
CHANGED = "pregnancy"
ODD = {("pregnancy_home_visit", "anc_visits_hf", "next_date"), ("immunization_visit", "next_visit_date")}
CHECKS = {
    "int": int,
    "decimal": float,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "dateTime": datetime.fromisoformat,
    "epoch": lambda value: datetime.fromtimestamp(int(value) / 1000),
    "boolean": {"True": True, "False": False}.__getitem__,
    "geopoint": lambda value: [float(word) for word in re.fullmatch(r"(\S+) (\S+) (\S+) (\S+)", value).groups()],
}


def definition_of(doc: Doc) -> FormDefinition:
    return read_xform(doc["internalId"], base64.b64decode(doc["_attachments"]["xml"]["data"]))


class Deployment:
    def __init__(self, malformed: float) -> None:
        docs = [doc for database, doc in generate(4000, seed=7, malformed=malformed) if database == "medic"]
        self.forms = {doc["internalId"]: doc for doc in docs if doc.get("type") == "form"}
        self.second = second_version({**self.forms[CHANGED], "_rev": "1-a"}) or {}
        self.definitions = {code: definition_of(doc) for code, doc in self.forms.items()}
        self.newer = definition_of(self.second)
        (settings,) = (doc["settings"] for doc in docs if doc["_id"] == "settings")
        self.definitions |= read_sms_forms(settings)
        self.reports = [doc for doc in docs if doc.get("type") == "data_record" and doc["form"]]

    def definition(self, report: Doc) -> FormDefinition:
        newer = report.get("form_version") == self.second["xmlVersion"]
        return self.newer if newer else self.definitions[report["form"]]

    def values(self) -> Iterator[tuple[str, FormField | None, str]]:
        """Form, field and text of each value of all reports; no field where the report's own version has none."""
        for report in self.reports:
            fields = {each.path: each for each in self.definition(report).fields}
            for path, value in leaves(report["fields"]):
                if value not in ("", None):
                    yield report["form"], fields.get(path), str(value)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, inside in value.items():
            yield from leaves(inside, (*path, name))
    elif isinstance(value, list):
        for inside in value:
            yield from leaves(inside, path)
    else:
        yield path, value


@pytest.fixture(scope="module")
def sound() -> Deployment:
    return Deployment(malformed=0)


def test_every_report_is_of_a_form_that_is_defined(sound: Deployment) -> None:
    assert {report["form"] for report in sound.reports} <= sound.definitions.keys()
    assert {"contact:person:create", "contact:clinic:create"} <= sound.definitions.keys()


def test_values_are_of_a_field_of_the_version_that_the_report_names(sound: Deployment) -> None:
    for form, field, value in sound.values():
        assert field, f"{form} holds {value!r} where its definition has no field"
        if field.choices:
            said = set(value.split()) if field.type == "select" else {value}
            assert said <= {each.value for each in field.choices}, (form, field.path)
        CHECKS.get(field.type, str)(value)


def test_every_field_of_a_form_has_values(sound: Deployment) -> None:
    filled = {(form, field.path) for form, field, _ in sound.values() if field}
    # What the app fills in only now and then.
    left = {"deviceID", "lat", "long", "error", "message", "source_id"}
    for code, definition in sound.definitions.items():
        if not code.startswith("contact:"):
            asked = [each.path for each in definition.fields if not each.note and each.path[-1] not in left]
            assert [path for path in asked if (code, path) not in filled] == []


def test_kinds_of_fields_and_a_repeat_are_there(sound: Deployment) -> None:
    types = {each.type for definition in sound.definitions.values() for each in definition.fields}
    assert types >= {*CHECKS, "string", "select", "select1", "db:person"}
    assert sound.definitions["delivery"].repeats == (("babies",),)
    assert any(len(report["fields"]["babies"]) > 1 for report in sound.reports if report["form"] == "delivery")


def test_what_is_shown_is_said_in_two_languages(sound: Deployment) -> None:
    for definition in sound.definitions.values():
        for field in definition.fields:
            for labels in (field.labels, *(each.labels for each in field.choices)):
                assert field.hidden or set(labels) == {"en", "sw"}, (definition.code, field.path)


def test_a_form_changes_half_way(sound: Deployment) -> None:
    old, new = ({each.path: each for each in one.fields} for one in (sound.definitions[CHANGED], sound.newer))
    assert new.keys() - old.keys() == {("safe_pregnancy_practices", "malaria_medicine"), ("haemoglobin",)}
    assert old.keys() - new.keys() == {("safe_pregnancy_practices", "iron_folate")}
    visits = ("anc_visits_hf", "past", "visits")
    assert {path: (old[path].type, new[path].type) for path in old.keys() & new.keys() if old[path] != new[path]} == {
        visits: ("select1", "int")
    }
    both = merge_definitions([sound.definitions[CHANGED], sound.newer])
    assert {each.path for each in both.fields} == old.keys() | new.keys()
    assert sound.definitions[CHANGED].version < sound.newer.version
    versions = Counter(report["form_version"]["time"] for report in sound.reports if report["form"] == CHANGED)
    first, second = (versions[doc["xmlVersion"]["time"]] for doc in (sound.forms[CHANGED], sound.second))
    assert min(first, second) > 0.3 * versions.total() > 20
    assert first + second == versions.total()


def test_forms_are_named_by_what_they_hold(sound: Deployment) -> None:
    for doc in (*sound.forms.values(), sound.second):
        content = base64.b64decode(doc["_attachments"]["xml"]["data"])
        assert doc["xmlVersion"]["sha256"] == hashlib.sha256(content).hexdigest()
        assert doc["_attachments"]["xml"]["content_type"] == "application/xml"
    assert second_version({**sound.forms["delivery"], "_rev": "1-a"}) is None


def test_now_and_then_a_date_is_a_word() -> None:
    def odd(malformed: float) -> Counter[tuple[str, ...]]:
        values = Deployment(malformed).values()
        return Counter((form, *field.path) for form, field, value in values if field and value == "unknown")

    assert odd(0) == Counter()
    assert odd(0.01).keys() == ODD
