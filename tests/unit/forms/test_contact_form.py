from datetime import UTC, date, datetime

import pytest

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.contact_form import ContactForm, with_contact_forms
from cht_sync.forms.definition import FormDefinition, FormField
from cht_sync.forms.hierarchy import BUILT_IN
from cht_sync.forms.package import ejected_files, forms_package
from cht_sync.forms.tables import FormChoices, form_tables


def form(code, *asked, repeats=(), **more):
    fields = tuple(each if isinstance(each, FormField) else FormField(tuple(each.split("/"))) for each in asked)
    kind = "contact" if code.startswith("contact:") else "report"
    return CatalogueForm(code, kind, FormDefinition(code, code, "1", fields, repeats), **more)


CREATE = form(
    "contact:clinic:create", "inputs/user/name", "clinic/parent", "clinic/type", "clinic/name", "clinic/contact",
    "clinic/geolocation", FormField(("clinic", "rooms"), "int"), "clinic/meta/created_by", "contact/name",
    FormField(("repeat", "child", "age"), repeat=("repeat", "child")), repeats=(("repeat", "child"),),
)  # fmt: skip
EDIT = form("contact:clinic:edit", "clinic/contact/_id", "clinic/meta/last_edited_by", "clinic/roof", "init/x")


def made(*forms, hierarchy=BUILT_IN):
    return with_contact_forms(forms, hierarchy)


def test_one_table_of_the_forms_that_create_and_edit():
    visit = form("a", "x")
    report, contact = made(EDIT, visit, CREATE)
    assert report is visit
    assert isinstance(contact, ContactForm)
    assert contact.code == "contact:clinic:create"
    (table,) = form_tables(contact, FormChoices(exclude=("*/created_by",)))
    assert table.name == "contact_clinic"
    assert list(table.standard) == [
        "uuid", "saved_timestamp", "reported", "parent_uuid", "health_center_uuid", "district_hospital_uuid",
        "contact_uuid", "name",
    ]  # fmt: skip
    assert {column.name: column.kind for column in table.columns} == {
        "geolocation__latitude": "numeric", "geolocation__longitude": "numeric", "geolocation__altitude": "numeric",
        "geolocation__accuracy": "numeric", "rooms": "bigint", "meta__last_edited_by": "text", "roof": "text",
    }  # fmt: skip


def test_a_form_that_only_edits_and_fields_that_are_gone():
    day = date(2026, 1, 2)
    (edit,) = made(EDIT)
    assert edit.code == EDIT.code
    assert form_tables(edit, FormChoices())[0].name == "contact_clinic"
    create = form("contact:clinic:create", "clinic/roof", "clinic/old", gone=dict.fromkeys(
        [("clinic", "roof"), ("clinic", "old")], day), removed_at=datetime(2026, 1, 2, tzinfo=UTC))  # fmt: skip
    (both,) = made(create, EDIT)
    assert both.gone == {("clinic", "old"): day}
    assert both.removed_at is None


def test_names_stay_and_a_level_comes_before_a_field():
    named = form(
        "contact:clinic:create", "clinic/area_uuid", "clinic/B",
        columns={("*table",): "contact_clinic", ("clinic", "area_uuid"): "area_uuid", ("clinic", "B"): "b_of_old"},
    )  # fmt: skip
    (contact,) = made(named, hierarchy={"clinic": ("area",)})
    (table,) = form_tables(contact, FormChoices())
    assert "area_uuid" in table.standard
    assert [column.name for column in table.columns] == ["fields__area_uuid", "b_of_old"]


@pytest.mark.parametrize(
    ("refused", "models", "why"),
    [
        (form("contact:clinic"), (), "is for contacts, and is not named"),
        (form("contact:clinic:create", "place/x"), (), "has no group clinic"),
        (CREATE, ("data_record",), "has no model contact"),
    ],
)
def test_refused_in_a_sentence(refused, models, why):
    package = forms_package(made(refused, form("a", "x")), FormChoices(), models)
    assert why in package.refused[refused.code]
    assert "\n" not in package.refused[refused.code]
    assert "models/form_a.sql" in package.files
    assert not any("contact_clinic" in path for path in package.files)


def test_a_model_of_the_project_is_left_alone():
    contact_type = form("contact:type:create", "type/x")
    package = forms_package(made(contact_type), FormChoices(), ("contact", "contact_type"))
    assert package.left == ("contact:type:create",)
    assert not package.files


def test_hostile_types_are_text_to_everyone():
    evil = "it's {{ evil }} --"
    package = forms_package(made(form(f"contact:{evil}:create", f"{evil}/x"), hierarchy={evil: (evil + "2",)}),
                            FormChoices())  # fmt: skip
    text = package.files["models/contact_it_s_evil.sql"] + package.files["models/contact_it_s_evil.yml"]
    assert "{{ evil }}" not in text
    assert "it's" not in package.files["models/contact_it_s_evil.sql"]
    assert "it_s_evil_2_uuid" in text or "it_s_evil_2" in text


def test_ejected_models_need_no_macro():
    (contact,) = made(CREATE)
    text = ejected_files(form_tables(contact, FormChoices()))["models/contact_clinic.sql"]
    assert "cht_forms" not in text
    assert "ref('contact')" in text
    assert "data_record" not in text
