"""Places and persons."""

from datetime import UTC, datetime
from random import Random
from typing import Any

from include.demo.malformed import spoil_time
from include.demo.names import FAMILY_NAMES, FIRST_NAMES, NOTES, PLACES
from include.demo.plan import DAY, Plan

Doc = dict[str, Any]
OLD_TYPES = {"district": "district_hospital", "health_center": "health_center", "clinic": "clinic"}
# Every place in these turns: half of old style, half of new style with types of the deployment's own;
# "outreach_post" is in use without being configured, as happens after a change of the settings.
PLACE_TYPES = {
    "district": ("district_hospital",),
    "health_center": ("health_center", "c20_community_unit"),
    "clinic": ("clinic", "clinic", "c30_household", "c30_household", "c30_household", "outreach_post"),
}
PERSON_TYPES = ("person", "person", "person", "c82_member", "c82_member")


def place(plan: Plan, kind: str, index: int) -> Doc:
    """Return a place.

    :param plan: the deployment.
    :param kind: "district", "health_center" or "clinic".
    :param index: which one of its kind.
    """
    rng = plan.random(kind, index)
    name = f"{rng.choice(PLACES)} {kind.replace('_', ' ')} {index + 1}"
    doc: Doc = {"_id": plan.uuid(kind, index), **_style(PLACE_TYPES[kind][index % len(PLACE_TYPES[kind])])}
    doc |= {"name": name, "external_id": f"EXT-{rng.randrange(10**6):06}", "notes": rng.choice(NOTES)}
    doc |= _common(plan, rng, kind, index)
    doc["place_id"] = f"{50_000 + index}" if rng.random() < 0.8 else None
    doc["contact"] = plan.contact("person", index % plan.counts["person"])
    doc["geolocation"] = {"latitude": round(rng.uniform(-5, 30), 6), "longitude": round(rng.uniform(-17, 88), 6)}
    doc["meta"] = {"created_by": f"supervisor_{index % 7}", "created_by_place_uuid": ""}
    spoil_time(doc, plan.malformation(kind, index))
    return doc


def person(plan: Plan, index: int) -> Doc:
    """Return a person.

    :param plan: the deployment.
    :param index: which person.
    """
    rng = plan.random("person", index)
    sex = rng.choice(("female", "male"))
    name = person_name(rng, sex)
    worker = index % 10 == 0
    doc: Doc = {"_id": plan.uuid("person", index)}
    doc |= _style("c81_chw" if worker and index % 20 else PERSON_TYPES[index % len(PERSON_TYPES)])
    doc |= {"name": name, "short_name": name.split()[0], "sex": sex, "date_of_birth": _birth(plan, rng)}
    doc |= {"phone": phone(rng) if worker or rng.random() < 0.5 else "", "notes": rng.choice(NOTES)}
    if rng.random() < 0.15:
        doc["alternative_phone"] = phone(rng)
    if not worker and rng.random() < 0.9:
        doc["patient_id"] = f"{10_000 + index}"
    doc |= _common(plan, rng, "person", index)
    if rng.random() < 0.03:
        doc["muted"] = iso(plan.moment(rng, 90))
        doc["muting_history"] = {"last_update": "server_side", "server_side": {"muted": True}, "client_side": []}
    doc["role"] = "chw" if worker else "patient"
    doc["meta"] = {"created_by": f"chw_{index % 40}", "created_by_person_uuid": plan.uuid("person", 0)}
    spoil_time(doc, plan.malformation("person", index))
    return doc


def person_name(rng: Random, sex: str) -> str:
    """Return a first and a family name, rarely with an emoji."""
    name = f"{rng.choice(FIRST_NAMES[sex])} {rng.choice(FAMILY_NAMES)}"
    return f"{name} 😀" if rng.random() < 0.01 else name


def phone(rng: Random) -> str:
    """Return a phone number in international form."""
    return f"+{rng.choice(('977', '254', '251', '221', '255'))}{rng.randrange(10**8, 10**9)}"


def iso(milliseconds: int) -> str:
    """Return a time as CHT writes it in text, in UTC with milliseconds."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _style(contact_type: str) -> Doc:
    if contact_type in (*OLD_TYPES.values(), "person"):
        return {"type": contact_type}
    return {"type": "contact", "contact_type": contact_type}


def _common(plan: Plan, rng: Random, kind: str, index: int) -> Doc:
    # A district has an empty text as its parent, as documents made by CHT's forms do.
    return {"parent": plan.lineage(kind, index) or "", "reported_date": plan.moment(rng)}


def _birth(plan: Plan, rng: Random) -> str:
    days = int(rng.betavariate(1.1, 2.5) * 85 * 365)
    return iso(plan.now_ms - days * DAY)[:10]
