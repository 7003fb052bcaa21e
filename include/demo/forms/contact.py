"""The forms that places and persons are made and changed with."""

from __future__ import annotations

from include.demo.forms.app import SEXES
from include.demo.forms.questions import Form, Group, Question, calculated, date, hidden, one_of, text

_ROLES = (("chw", "Health worker", "Mhudumu wa afya"), ("patient", "Patient", "Mgonjwa"))


def _person() -> Group:
    asked = (
        text("name", "Full name", "Jina kamili"),
        text("short_name", "Short name", "Jina fupi"),
        one_of("sex", "Sex", "Jinsia", SEXES),
        date("date_of_birth", "Date of birth", "Tarehe ya kuzaliwa"),
        Question("phone", "tel", "input", ("Phone", "Simu")),
        Question("alternative_phone", "tel", "input", ("Another phone", "Simu nyingine")),
        one_of("role", "Role", "Jukumu", _ROLES),
        text("notes", "Notes", "Maelezo"),
    )
    return Group("person", (*_common("person"), *asked, _meta("created_by_person_uuid")), ("Person", "Mtu"))


def _clinic() -> Group:
    asked = (
        text("name", "Name of the household", "Jina la kaya"),
        Question("contact", "db:person", "input", ("Head of the household", "Mkuu wa kaya")),
        text("external_id", "Number on the door", "Namba ya mlango"),
        text("notes", "Notes", "Maelezo"),
    )
    return Group("clinic", (*_common("clinic"), *asked, _meta("created_by_place_uuid")), ("Household", "Kaya"))


def _common(kind: str) -> tuple[Question, ...]:
    return (*hidden("parent"), calculated("type", f"'{kind}'"))


def _meta(*names: str) -> Group:
    return Group("meta", hidden("created_by", *names))


def _forms(group: Group, title: str, swahili: str) -> tuple[Form, Form]:
    inputs = Group("inputs", (Group("user", hidden("contact_id", "name")),))
    create, edit = (f"contact:{group.name}:{what}" for what in ("create", "edit"))
    return (
        Form(create, (f"New {title}", f"{swahili} mpya"), (inputs, group), "data", ()),
        Form(edit, (f"Edit {title}", f"Hariri {swahili.lower()}"), (inputs, group), "data", ()),
    )


CONTACT_FORMS: tuple[Form, ...] = (*_forms(_clinic(), "household", "Kaya"), *_forms(_person(), "person", "Mtu"))
