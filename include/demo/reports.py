"""Reports: documents of type data_record, from the app's forms and by SMS."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from include.demo.contacts import iso, person_name, phone
from include.demo.forms.published import version_at
from include.demo.malformed import number, spoil_time
from include.demo.names import NOTES, PLACES, STOCK, SYMPTOMS, VACCINES
from include.demo.plan import DAY, Plan

Doc = dict[str, Any]
SIGNS = ("vaginal_bleeding", "fits", "severe_headache")


def report(plan: Plan, index: int) -> Doc:
    """Return a report; every tenth one came by SMS.

    :param plan: the deployment.
    :param index: which report; may lie beyond those of the plan, for later ones.
    """
    rng = plan.random("report", index)
    doc = _sms(plan, rng, index) if rng.random() < 0.1 else _app(plan, rng, index)
    turn = plan.malformation("report", index)
    if turn is not None and turn % 3 == 2:
        # Every third malformed report has a sound time and a broken number, or no fields at all.
        if turn % 2:
            _spoil_number(doc, turn // 3)
        else:
            doc["fields"] = None
    else:
        spoil_time(doc, turn)
    return doc


def _spoil_number(doc: Doc, turn: int) -> None:
    *groups, last = ODD_NUMBERS.get(doc["form"], ("weeks",))
    inside = doc["fields"]
    for group in groups:
        inside = inside[group]
    inside[last] = number(turn, 0)


def _app(plan: Plan, rng: Random, index: int) -> Doc:
    form = rng.choices(list(FORMS), weights=[weight for weight, _ in FORMS.values()])[0]
    worker = 10 * rng.randrange(max(1, plan.counts["person"] // 10))
    patient = rng.randrange(plan.counts["person"])
    doc: Doc = {"_id": plan.uuid("report", index), "type": "data_record", "form": form, "content_type": "xml"}
    moment = plan.moment(rng)
    doc |= {"reported_date": moment, "contact": plan.contact("person", worker), "from": phone(rng)}
    fields: Doc = {"inputs": _inputs(rng, patient)}
    if form == "stock_report":
        place = plan.uuid("health_center", worker % plan.counts["health_center"])
        fields["inputs"]["contact"] = {"_id": place, "name": rng.choice(PLACES)}
        fields["place_id"] = place
    else:
        fields |= _patient(plan, rng, patient)
        fields["inputs"]["contact"] = {
            "_id": fields["patient_uuid"], "name": fields["patient_name"], "patient_id": fields.get("patient_id", "")
        }  # fmt: skip
    version, doc["form_version"] = version_at(form, moment, plan.now_ms)
    doc["fields"] = fields | FORMS[form][1](_Visit(plan, rng, moment, version))
    doc["fields"]["meta"] = {"instanceID": f"uuid:{plan.uuid('instance', index)}"}
    # Where the patient is named differs with the age of a form: on top, in the fields, or by uuid only.
    if form != "stock_report" and rng.random() < 0.3:
        doc["patient_id"] = f"{10_000 + patient}"
    doc["hidden_fields"] = ["meta"]
    if rng.random() < 0.4:
        doc["geolocation"] = {
            "latitude": round(rng.uniform(-5, 30), 7), "longitude": round(rng.uniform(-17, 88), 7),
            "accuracy": round(rng.uniform(3, 900), 3), "altitude": None,
        }  # fmt: skip
    return doc


def _inputs(rng: Random, patient: int) -> Doc:
    deprecated = {"deviceID": "", "userID": f"chw_{patient % 40}"}
    return {
        "meta": {"location": {"lat": "", "long": "", "error": "", "message": ""}, "deprecated": deprecated},
        "source": rng.choice(("contact", "task")),
        "source_id": "",
    }


def _patient(plan: Plan, rng: Random, patient: int) -> Doc:
    named: Doc = {"patient_uuid": plan.uuid("person", patient), "patient_name": person_name(rng, "female")}
    if rng.random() < 0.7:
        named["patient_id"] = f"{10_000 + patient}"
    above = plan.parent("person", patient)
    named["visited_contact_uuid"] = plan.uuid(*above) if above else ""
    return named | {"patient_age_in_years": str(rng.randrange(60))}


@dataclass(frozen=True)
class _Visit:
    """What a form is filled in at: values are texts, as the app stores what a person has typed."""

    plan: Plan
    rng: Random
    moment: int
    version: int

    def yes_no(self) -> str:
        return self.rng.choice(("yes", "no"))

    def below(self, end: int, start: int = 0) -> str:
        return str(self.rng.randrange(start, end))

    def between(self, low: float, high: float, digits: int = 1) -> str:
        return str(round(self.rng.uniform(low, high), digits))

    def some(self, choices: Sequence[str], most: int, least: int = 0) -> str:
        return " ".join(self.rng.sample(choices, self.rng.randrange(least, most + 1)))

    def day(self, days: int) -> str:
        """Some days after the visit, or before it."""
        return iso(self.moment + days * DAY)[:10]

    def day_if_known(self, days: int) -> str:
        """The same, and now and then a word in its place."""
        unknown = self.rng.random() < 5 * self.plan.malformed
        return "unknown" if unknown else self.day(days)


def _pregnancy(visit: _Visit) -> Doc:
    week = visit.rng.randrange(4, 40)
    ranges = ("none", "1_3", "1_3", "4_plus")
    fields: Doc = {
        "gestational_age": {
            "method": visit.rng.choice(("lmp", "lmp", "weeks")), "lmp_date": visit.day(-7 * week), "weeks": str(week),
            "edd": visit.day(280 - 7 * week), "edd_note": "",
        },
        "anc_visits_hf": {"past": {"visits": visit.rng.choice(ranges) if visit.version == 1 else visit.below(6)}},
        "risk_factors": visit.some(("first_pregnancy", "many_children", "close_births"), 2) or "none",
        "danger_signs": {sign: visit.rng.choice(("yes", "no", "no", "no")) for sign in SIGNS},
        "safe_pregnancy_practices": {"llin_use": visit.yes_no()},
        "summary": {"r_note": "", "r_followup": "true"},
    }  # fmt: skip
    if visit.version == 1:
        fields["safe_pregnancy_practices"]["iron_folate"] = visit.yes_no()
    else:
        fields["safe_pregnancy_practices"]["malaria_medicine"] = visit.yes_no()
        fields["haemoglobin"] = visit.between(7, 14)
    return fields


def _home_visit(visit: _Visit) -> Doc:
    signs = visit.some(SIGNS, 2) if visit.rng.random() < 0.3 else ""
    right = visit.rng.random() < 0.9
    north, east = visit.rng.uniform(-5, 30), visit.rng.uniform(-17, 88)
    return {
        "pregnancy_summary": {
            "visit_option": visit.rng.choice(("yes", "yes", "yes", "no", "migrated", "ended")),
            "g_age_correct": "yes" if right else "no", "lmp_updated": "" if right else visit.day(-100),
        },
        "anc_visits_hf": {"count": visit.below(8), "next_date": visit.day_if_known(14)},
        "danger_signs": {
            "signs": signs, "r_danger_sign_present": "yes" if signs else "no", "congratulate_no_ds_note": "",
        },
        "place": f"{north:.6f} {east:.6f} {visit.below(1800)} {visit.below(40, 3)}" if visit.rng.random() < 0.6 else "",
    }  # fmt: skip


def _delivery(visit: _Visit) -> Doc:
    rng = visit.rng
    babies = [
        {
            "baby_condition": rng.choice(("alive_well", "alive_unwell")), "baby_name": person_name(rng, "female"),
            "baby_sex": rng.choice(("male", "female")), "birth_weight": visit.between(1.8, 4.6, 2),
        }
        for _ in range(rng.choice((1, 1, 1, 2)))
    ]  # fmt: skip
    return {
        "delivery_outcome": {
            "babies_delivered": str(len(babies)), "delivery_date": visit.day(-rng.randrange(40)),
            "delivery_time": f"{rng.randrange(24):02}:{rng.randrange(60):02}:00.000+03:00",
        },
        "delivery_place": rng.choice(("health_facility", "health_facility", "home", "other")),
        "babies": babies,
        "pnc_visits": {"days": "1 3 7 42", "within_24_hrs": visit.yes_no()},
    }  # fmt: skip


def _assessment(visit: _Visit) -> Doc:
    found = visit.rng.sample(SYMPTOMS, visit.rng.randrange(4))
    fever = "fever" in found
    return {
        "group_fever": {"patient_fever": "yes" if fever else "no", "fever_duration": visit.below(14) if fever else ""},
        "group_breathing": {"breath_count": visit.below(90, 20), "chest_indrawing": "no"},
        "group_diagnosis": {"symptoms": " ".join(found), "muac": visit.between(9.5, 17)},
        "treatment": {"given": visit.some(STOCK, 2), "referral": visit.rng.choice(("yes", "no", "no", "no"))},
        "note": visit.rng.choice(NOTES),
    }


def _immunization(visit: _Visit) -> Doc:
    given = visit.rng.sample(VACCINES, visit.rng.randrange(1, 5))
    return {
        "vaccines_received": {f"received_{name}": "yes" if name in given else "no" for name in VACCINES},
        "visit_date": visit.day(-visit.rng.randrange(20)),
        "next_visit_date": visit.day_if_known(30),
    }


def _stock(visit: _Visit) -> Doc:
    items = {item: {key: visit.below(60) for key in ("received", "used", "left")} for item in STOCK}
    at = f"{iso(visit.moment)[:-1]}+03:00"
    return {"period": visit.day(0)[:7], "counted_at": at, "items": items, "stock_out": visit.some(STOCK, 2)}


FORMS: dict[str, tuple[int, Callable[[_Visit], Doc]]] = {
    "pregnancy": (15, _pregnancy),
    "pregnancy_home_visit": (20, _home_visit),
    "delivery": (8, _delivery),
    "assessment": (35, _assessment),
    "immunization_visit": (15, _immunization),
    "stock_report": (7, _stock),
}
# The field of each form that holds what is no number in malformed reports.
ODD_NUMBERS: dict[str | None, tuple[str, ...]] = {
    "pregnancy": ("anc_visits_hf", "past", "visits"),
    "pregnancy_home_visit": ("anc_visits_hf", "count"),
    "delivery": ("delivery_outcome", "babies_delivered"),
    "assessment": ("group_fever", "fever_duration"),
    "immunization_visit": ("next_visit_date",),
    "stock_report": ("items", "gloves", "left"),
    "P": ("last_menstrual_period",),
    "D": ("delivery_date",),
    "V": ("visit_number",),
}


def _sms(plan: Plan, rng: Random, index: int) -> Doc:
    sender, sent = phone(rng), plan.moment(rng)
    patient = f"{10_000 + rng.randrange(plan.counts['person'])}"
    form = rng.choice(("P", "D", "V", None))
    doc: Doc = {"_id": plan.uuid("report", index), "type": "data_record", "from": sender, "form": form}
    text = rng.choice(NOTES)
    doc |= {"reported_date": sent, "errors": [], "tasks": [], "fields": {}, "read": [], "responses": []}
    if form:
        doc["fields"] = {"patient_id": patient, **_sms_fields(form, rng, sent)}
        doc["kujua_message"] = True
        text = f"1!{form}!{'#'.join(_typed(each) for each in doc['fields'].values())}"
    doc["sms_message"] = {
        "message_id": f"{index}", "sent_timestamp": str(sent), "message": text, "from": sender,
        "type": "sms_message", "form": form, "locale": "ne",
    }  # fmt: skip
    if rng.random() < 0.5:
        doc["contact"] = plan.contact("person", 10 * rng.randrange(max(1, plan.counts["person"] // 10)))
    if rng.random() < 0.2:
        doc["errors"] = [{"code": "registration_not_found", "message": f"No patient with id '{patient}' 🚫"}]
    else:
        doc["tasks"] = [_task(rng, sender, sent)]
    return doc


def _sms_fields(form: str, rng: Random, sent: int) -> Doc:
    """As the server stores what it has read from the message: numbers as such, days in milliseconds since 1970."""
    some = rng.randrange(40)
    if form == "P":
        return {"last_menstrual_period": some}
    if form == "D":
        return {"delivery_date": sent - sent % DAY - some % 7 * DAY, "delivery_code": "F" if some % 3 else "H"}
    return {"visit_number": some % 8 + 1, "danger_sign": some % 5 == 0}


def _typed(value: Any) -> str:
    """As the sender has typed it."""
    if isinstance(value, bool):
        return str(int(value))
    return iso(value)[:10] if isinstance(value, int) and value > DAY else str(value)


def _task(rng: Random, sender: str, sent: int) -> Doc:
    message = {"to": sender, "message": "धन्यवाद! Thank you.", "uuid": f"{rng.getrandbits(128):032x}"}
    history = [{"state": state, "timestamp": iso(sent + n)} for n, state in enumerate(("pending", "sent", "delivered"))]
    return {"messages": [message], "state": "delivered", "state_history": history, "gateway_ref": f"{rng.random():.9f}"}
