"""What a form notice says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.definition import FormDefinition, FormField
from cht_sync.forms.form_models import FormModels
from cht_sync.forms.model_yaml import properties_of
from cht_sync.forms.names import FORMS_PACKAGE
from cht_sync.forms.notices import form_notices
from cht_sync.forms.tables import FormChoices, form_tables

FIELDS = (FormField(("lmp_date",), "date"), FormField(("age",), "int", repeat=None))
FORM = CatalogueForm("pregnancy", "report", FormDefinition("pregnancy", "Pregnancy", "3", FIELDS), versions=("2", "3"))


def manifest(*forms, others=()):
    """As dbt writes it of the models of these forms."""
    made = [properties_of(table, "data_record") for form in forms for table in form_tables(form, FormChoices())]
    nodes = [{"package_name": FORMS_PACKAGE, **model} for model in made]
    nodes += [{"package_name": "ours", "name": name} for name in others]
    for node in nodes:
        node["resource_type"] = "model"
        node["columns"] = {column["name"]: column for column in node.get("columns", ())}
    return {"nodes": {node["name"]: node for node in nodes}}


def told(form, before, unreadable=(), others=()):
    models = FormModels([form] if form else [])
    after = manifest(*([form] if form and len(form.definition.fields) < 1_400 else []), others=others)
    return {each.code: each.text for each in form_notices(models, unreadable, before, after)}


def of(form, *fields, **more):
    return replace(form, definition=replace(form.definition, fields=(*form.definition.fields, *fields)), **more)


def test_a_form_is_new():
    assert told(FORM, None) == {"pregnancy": "form pregnancy, version 3: new, in form_pregnancy"}
    assert told(FORM, manifest()) == told(FORM, None)


def test_nothing_has_changed():
    assert told(FORM, manifest(FORM)) == {}


def test_fields_are_new():
    more = of(FORM, FormField(("a",)), FormField(("b",)))
    assert told(more, manifest(FORM)) == {"pregnancy": "form pregnancy, version 3: 2 new fields (a, b)"}
    many = of(FORM, *(FormField((f"f{number}",)) for number in range(30)))
    assert told(many, manifest(FORM))["pregnancy"].endswith("30 new fields (f0, f1, f2, f3, f4 and 25 more)")


def test_a_field_is_gone():
    gone = replace(FORM, gone={("age",): date(2026, 5, 3)})
    assert told(gone, manifest(FORM)) == {"pregnancy": "form pregnancy, version 3: 1 field no longer in the form (age)"}
    assert told(gone, manifest(gone)) == {}


def test_a_type_has_changed():
    text = replace(FORM, filled={("lmp_date",): 100}, failing={("lmp_date",): {"date": 3}})
    said = "form pregnancy, version 3: `lmp_date` is text now, as {} % of its values are no date"
    assert told(text, manifest(FORM)) == {"pregnancy": said.format(3)}
    assert told(replace(text, filled={("lmp_date",): 1000}), manifest(FORM)) == {
        "pregnancy": said.format("less than 1")
    }
    # The form itself says so.
    other = replace(FORM, definition=replace(FORM.definition, fields=(FIELDS[0], FormField(("age",)))))
    assert told(other, manifest(FORM)) == {"pregnancy": "form pregnancy, version 3: `age` is text now"}


def test_a_form_is_removed():
    removed = replace(FORM, removed_at=datetime(2026, 5, 3, tzinfo=UTC))
    assert told(removed, manifest(FORM)) == {
        "pregnancy": "form pregnancy, version 3: the form was removed, its tables stay"
    }
    assert told(removed, manifest(removed)) == {}


def test_a_form_has_no_table():
    wide = of(FORM, *(FormField((f"f{number}",)) for number in range(1_500)))
    assert "form pregnancy: no table: " in told(wide, None)["pregnancy"]
    broken = CatalogueForm("visit", "report", FormDefinition("visit", "", None, ()), error="form:visit: it is no XML")
    assert told(None, None, [broken]) == {"visit": "form visit: no table, its definition cannot be read"}


def test_a_form_of_the_project_is_its_own():
    assert told(FORM, manifest(FORM), others=("form_pregnancy",)) == {}


def test_a_code_is_data():
    assert told(replace(FORM, code="x\ny {{ z }}"), None).popitem()[1].count("\n") == 0


def test_a_table_that_is_none_of_ours_leaves_a_form_without_one():
    models = FormModels([FORM], relations=frozenset({"form_pregnancy"}))
    (notice,) = form_notices(models, (), None, manifest())
    assert "form_pregnancy is there already and is no table of a form" in notice.text
