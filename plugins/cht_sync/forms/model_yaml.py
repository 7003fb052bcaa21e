"""The properties of a form's models: contract, descriptions, tests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.cells import KINDS, kind_of
from cht_sync.forms.contact_form import ContactForm
from cht_sync.forms.definition import FormField, Labels
from cht_sync.forms.hierarchy import Level
from cht_sync.forms.tables import REJECTED, Column, FormTable

MOST_OF_TEXT = 600
# By these the next deployment knows what the one before has said already.
NO_LONGER, REMOVED = "Not in the form since", "The form was removed on"
# dbt renders descriptions and the values of tests with Jinja, and writes the latter between quotes as they are.
_JINJA = re.compile(r"\{(?=[{%#])|(?<=[}%#])\}")
_PLAIN_VALUE = re.compile(r"[\w .+-]{1,100}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u0085\u2028\u2029]+")
_STANDARD = {
    "uuid": "The `_id` of the report.",
    "saved_timestamp": "The `saved_timestamp` of the raw document this row was made from.",
    "reported": "When the report was made, from `reported_date`.",
    "reported_by": "Who made the report.",
    "reported_by_parent": "The place of who made the report.",
    "patient_id": "Whom the report is about; a short id or a uuid.",
    "place_id": "Which place the report is about.",
    "form_version": "The version of the form, where the report says it.",
    REJECTED: (
        "What the report says and no column takes: for each field its value and why. `document_rejects` lists the same."
    ),
}
_OF_CONTACTS = {
    "uuid": "The `_id` of the contact.",
    "reported": "When the contact was made, from `reported_date`.",
    "parent_uuid": "The contact right above.",
    "contact_uuid": "The main contact of a place.",
    "name": "The name.",
    REJECTED: (
        "Fields of the contact that no column takes: for each its value and why. `document_rejects` lists the same."
    ),
}
_TYPES = {"string": "text", "select": "choices", "select1": "one choice", "epoch": "date"}


def properties_of(table: FormTable, parent: str) -> dict[str, Any]:
    """The properties of one model, as its YAML file has them.

    :param parent: relation of the model that its rows follow, as a foreign key names it.
    """
    standard = [
        {"name": name, "data_type": kind, "description": _described(table, name), **_keys(table, name, parent)}
        for name, kind in table.standard.items()
    ]
    columns = [*standard, *(_column(table, column) for column in table.columns)]
    columns.append({"name": REJECTED, "data_type": "jsonb", "description": _described(table, REJECTED)})
    found: dict[str, Any] = {
        "name": table.name,
        "description": _table_text(table),
        "config": {"contract": {"enforced": True}},
        "columns": columns,
    }
    if table.repeat:
        found["constraints"] = [{"type": "primary_key", "columns": list(table.key)}]
    return found


def plain_text(text: str, most: int = MOST_OF_TEXT) -> str:
    """A text of a form that dbt neither renders nor breaks at, of one line."""
    return _JINJA.sub(lambda found: f"{found[0]} " if found[0] == "{" else f" {found[0]}", _CONTROL.sub(" ", text))[
        :most
    ]


def _described(table: FormTable, name: str) -> str:
    if name in table.positions:
        return "Number of the element, from 1." if name == "position" else "Number of an element around it, from 1."
    if isinstance(table.form, ContactForm):
        levels = {level.column: _level_text(level) for level in table.form.lineage.levels}
        return levels.get(name) or _OF_CONTACTS.get(name) or _STANDARD[name]
    return _STANDARD[name]


def _level_text(level: Level) -> str:
    if not level.type:
        return f"The contact {level.number} levels above, of whichever type."
    return (
        f"The contact of the type `{plain_text(level.type, 200)}` above, by its place in the lineage; null where it"
        " is higher or lower than the settings have it."
    )


def _keys(table: FormTable, name: str, parent: str) -> Mapping[str, Any]:
    if name != "uuid":
        return {}
    key = [] if table.repeat else [{"type": "primary_key"}]
    return {"constraints": [*key, {"type": "foreign_key", "expression": f"{parent} (uuid) on delete cascade"}]}


def _column(table: FormTable, column: Column) -> dict[str, Any]:
    found = {
        "name": column.name,
        "quote": True,
        "data_type": column.type,
        "description": _column_text(table.form, column),
    }
    values = [choice.value for choice in column.field.choices]
    if column.kind == "text" and column.field.type == "select1" and values and all(map(_PLAIN_VALUE.fullmatch, values)):
        found["data_tests"] = [
            {"accepted_values": {"arguments": {"values": values}, "config": {"severity": "warn"}}},
        ]
    return found


def _table_text(table: FormTable) -> str:
    form = table.form
    title = plain_text(form.definition.title or form.code, 200)
    what = (
        f"One row for each element of `{plain_text('/'.join(table.repeat), 200)}`"
        if table.repeat
        else "One row per contact"
        if isinstance(form, ContactForm)
        else "One row per report"
    )
    of_type = f"of the type `{plain_text(form.contact_type, 200)}`, " if isinstance(form, ContactForm) else ""
    texts = [f"{what} {of_type}of the form {title} (`{plain_text(form.code, 200)}`)."]
    if table.repeat:
        texts.append(f"`position` counts the elements of a {'contact' if of_type else 'report'} from 1.")
    if form.removed_at:
        texts.append(f"{REMOVED} {form.removed_at:%Y-%m-%d}.")
    return " ".join(texts)


def _column_text(form: CatalogueForm, column: Column) -> str:
    path = plain_text("/".join(column.field.path), 300)
    texts = [_label(column.field.labels), f"Field `{path}`, {_type(column.field)}."]
    if day := form.gone.get(column.field.path):
        texts.append(f"{NO_LONGER} {day:%Y-%m-%d}.")
    if column.field.path in form.undeclared:
        texts.append("Reports hold it, no definition has it.")
    if column.kind == "text" and kind_of(column.field.type) != "text" and not column.forced:
        texts.append(f"Text, as some values are {KINDS[kind_of(column.field.type)].reason}.")
    if column.kind == "geopoint":
        texts.append(("Degrees north.", "Degrees east.", "Metres above the sea.", "Metres of accuracy.")[column.part])
    return " ".join(filter(None, texts))


def _label(labels: Labels) -> str:
    text = next((labels[name] for name in ("en", "", *labels) if labels.get(name)), "")
    return plain_text(text)


def _type(asked: FormField) -> str:
    named = plain_text(_TYPES.get(asked.type, asked.type), 50)
    return f"{named}, not asked but calculated" if asked.hidden else named
