"""The forms that are filled in by SMS, as the app settings define them.

Source: https://docs.communityhealthtoolkit.org/reference/app-settings/forms/
"""

from __future__ import annotations

from typing import Any

Doc = dict[str, Any]


def sms_forms() -> Doc:
    """Return `forms` of the app settings, by code."""
    patient = _field(0, "string", "patient_id", "Number of the patient", "Namba ya mgonjwa")
    return {
        "P": _form(
            "P", "Pregnancy by SMS", "Ujauzito kwa SMS",
            patient,
            _field(1, "integer", "last_menstrual_period", "Weeks since the last period", "Wiki tangu hedhi ya mwisho"),
        ),
        "D": _form(
            "D", "Delivery by SMS", "Kujifungua kwa SMS",
            patient,
            _field(1, "date", "delivery_date", "Date of delivery", "Tarehe ya kujifungua"),
            _field(2, "string", "delivery_code", "Where: F (facility), H (home)", "Wapi: F (kituo), H (nyumbani)"),
        ),
        "V": _form(
            "V", "Visit by SMS", "Ziara kwa SMS",
            patient,
            _field(1, "integer", "visit_number", "Which visit?", "Ziara ya ngapi?"),
            _field(2, "boolean", "danger_sign", "Any danger sign?", "Dalili ya hatari?"),
        ),
    }  # fmt: skip


def _form(code: str, english: str, swahili: str, *fields: tuple[str, Doc]) -> Doc:
    return {
        "meta": {"code": code, "icon": "icon-form", "label": {"en": english, "sw": swahili}},
        "fields": dict(fields),
        "public_form": True,
        "use_sentinel": True,
    }


def _field(position: int, kind: str, name: str, english: str, swahili: str) -> tuple[str, Doc]:
    labels = {"short": {"en": english, "sw": swahili}, "tiny": {"en": name[:8]}}
    return name, {"type": kind, "position": position, "required": position == 0, "labels": labels}
