"""Contact forms: the fields of the contacts of one type, of the forms that create and edit them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

from cht_sync.errors import SettingsError
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.definition import FormField, Path
from cht_sync.forms.hierarchy import Hierarchy, Lineage, lineage_of
from cht_sync.forms.merge import merge_definitions

_CODE = re.compile(r"contact:(.+):(create|edit)", re.DOTALL)
# Before its levels and behind them.
_FIRST = {
    "uuid": "text",
    "saved_timestamp": "timestamp without time zone",
    "reported": "timestamp with time zone",
    "parent_uuid": "text",
}
_LAST = {"contact_uuid": "text", "name": "text"}
# What the CHT writes itself, or the columns above have.
_OF_THE_CHT = {"_id", "_rev", "_attachments", "type", "contact_type", "parent", "contact", "name", "reported_date"}
# The form asks for a text, and the CHT stores what the device says.
GEOLOCATION = "geolocation"
_PARTS = ("latitude", "longitude", "altitude", "accuracy")


@dataclass(frozen=True)
class ContactForm(CatalogueForm):
    """The forms of one type of contacts, under the code of that which creates them.

    Its fields are those of the group that has the name of the type, which the CHT stores at the top of the contact.
    Source: https://github.com/medic/cht-core/blob/master/webapp/src/ts/services/form/form-data.ts

    :param lineage: what stands above them.
    """

    contact_type: str = ""
    lineage: Lineage = field(default_factory=Lineage)

    @property
    def group(self) -> Path:
        """Where its fields begin."""
        return (self.contact_type,)

    @property
    def shared(self) -> frozenset[Path]:
        """Groups that the CHT writes into as well: what is no field there is nothing that a form lost."""
        return frozenset({self.group, (*self.group, GEOLOCATION)})

    @property
    def standard(self) -> dict[str, str]:
        """The columns before its fields, with their types."""
        return {**_FIRST, **{level.column: "text" for level in self.lineage.levels}, **_LAST}


def with_contact_forms(forms: Iterable[CatalogueForm], hierarchy: Hierarchy) -> list[CatalogueForm]:
    """Forms in the order of their codes, those of one type of contacts as one; what is none stays as it is."""
    found: list[CatalogueForm] = []
    by_type: dict[str, list[CatalogueForm]] = {}
    for form in forms:
        contact_type = contact_type_of(form)
        if contact_type:
            by_type.setdefault(contact_type, []).append(form)
        else:
            found.append(form)
    # "create" comes before "edit".
    made = [_contact_form(name, sorted(each, key=lambda form: form.code), hierarchy) for name, each in by_type.items()]
    return sorted((*found, *made), key=lambda form: form.code)


def contact_type_of(form: CatalogueForm) -> str:
    """The type of contacts that a form is for, by its code; empty where it is for none."""
    named = _CODE.fullmatch(form.code) if form.kind == "contact" else None
    return named[1] if named else ""


def require_group(form: CatalogueForm) -> None:
    """Refuses a form that says nothing of what its contacts hold.

    :raises SettingsError: if no type of contacts can be told from its code, or it has no group of the type's name.
    """
    if form.kind != "contact":
        return
    if not isinstance(form, ContactForm):
        raise SettingsError(f"form {form.code} is for contacts, and is not named contact:<type>:create or …:edit.")
    if not form.definition.fields:
        raise SettingsError(f"form {form.code} has no group {form.contact_type} with the fields of its contacts.")


def _contact_form(contact_type: str, forms: Sequence[CatalogueForm], hierarchy: Hierarchy) -> ContactForm:
    first = forms[0]
    # The newest says how a field is asked, which is the form that creates contacts.
    merged = merge_definitions(form.definition for form in reversed(forms))
    there = {each.path for form in forms for each in form.definition.fields if each.path not in form.gone}
    own = {each.name: getattr(first, each.name) for each in fields(CatalogueForm)}
    own |= {
        "definition": replace(
            merged,
            code=first.code,
            fields=tuple(_stored(contact_type, merged.fields)),
            repeats=tuple(path for path in merged.repeats if path[0] == contact_type and len(path) > 1),
        ),
        "columns": _together([form.columns for form in forms]),
        "gone": {path: day for form in forms for path, day in form.gone.items() if path not in there},
        "removed_at": None if any(form.removed_at is None for form in forms) else first.removed_at,
        "error": "; ".join(form.error for form in forms if form.error) or None,
    }
    return ContactForm(**own, contact_type=contact_type, lineage=lineage_of(contact_type, hierarchy, _FIRST | _LAST))


def _stored(contact_type: str, asked: Iterable[FormField]) -> Iterable[FormField]:
    """The fields as a contact has them."""
    for each in asked:
        if each.path[0] != contact_type or len(each.path) == 1 or each.path[1] in _OF_THE_CHT:
            continue
        if each.path[1:] == (GEOLOCATION,):
            yield from (FormField((*each.path, part), "decimal", hidden=True) for part in _PARTS)
        else:
            yield each


def _together(columns: Sequence[Mapping[Path, str]]) -> dict[Path, str]:
    """The names of all; those of the first win."""
    return {path: name for each in reversed(columns) for path, name in each.items()}
