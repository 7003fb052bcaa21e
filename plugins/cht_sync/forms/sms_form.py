"""Reads the definitions of SMS and JSON forms in ``settings.forms`` of the document ``settings``.

Source: https://docs.communityhealthtoolkit.org/reference/app-settings/forms/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cht_sync.forms.definition import LONGEST_CODE, Choice, FormDefinition, FormField, Labels, is_too_long

# Of an SMS form, each as the type of an XForm that casts alike.
TYPES = {"integer": "int", "number": "decimal", "boolean": "boolean", "date": "epoch"}


def read_sms_forms(settings: object) -> dict[str, FormDefinition]:
    """What each form asks, by its code; what is not understood of one form leaves out that part alone.

    :param settings: ``settings`` of the document, of whatever shape.
    """
    forms = settings.get("forms") if isinstance(settings, Mapping) else None
    if not isinstance(forms, Mapping):
        return {}
    return {
        str(code): _form(str(code), form)
        for code, form in forms.items()
        if isinstance(form, Mapping) and 0 < len(str(code)) <= LONGEST_CODE
    }


def _form(code: str, form: Mapping[str, Any]) -> FormDefinition:
    meta, fields = _mapping(form.get("meta")), _mapping(form.get("fields"))
    listed = sorted(((str(name), _mapping(asked)) for name, asked in fields.items()), key=lambda each: _place(each[1]))
    read = [_field(name, asked) for name, asked in listed]
    labels = _labels(meta.get("label"))
    return FormDefinition(
        code=code,
        title=next(iter(labels.values()), ""),
        version=None,
        fields=tuple(each for each in read if not is_too_long(each.path)),
        labels=labels,
    )


def _place(asked: Mapping[str, Any]) -> float:
    """Where a field stands in the form; those that do not say it come last."""
    position = asked.get("position")
    return position if isinstance(position, int) else float("inf")


def _field(name: str, asked: Mapping[str, Any]) -> FormField:
    labels = _mapping(asked.get("labels"))
    declared = str(asked.get("type") or "string")
    return FormField(
        # The app stores ``a.b`` as ``b`` inside of ``a``.
        path=tuple(name.split(".")),
        type=TYPES.get(declared, declared),
        labels=_labels(labels.get("description")) or _labels(labels.get("short")) or _labels(labels.get("tiny")),
        choices=tuple(_choices(asked.get("list"))),
    )


def _choices(listed: object) -> list[Choice]:
    found = []
    for each in listed if isinstance(listed, list) else []:
        if isinstance(each, list) and each and isinstance(each[0], str | int):
            found.append(Choice(str(each[0]), _labels(each[1] if len(each) > 1 else None)))
    return found


def _labels(said: object) -> Labels:
    """A text, or one for each language."""
    if isinstance(said, str):
        return {"": said} if said else {}
    return {str(language): text for language, text in _mapping(said).items() if isinstance(text, str) and text}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
