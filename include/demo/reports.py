"""Reports: documents of type data_record, from the app's forms and by SMS."""

from collections.abc import Callable
from random import Random
from typing import Any

from include.demo.contacts import iso, person_name, phone
from include.demo.malformed import number, spoil_time
from include.demo.names import NOTES, STOCK, SYMPTOMS, VACCINES
from include.demo.plan import DAY, Plan

Doc = dict[str, Any]


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
        doc["fields"] = {"weeks": number(turn // 3, 0)} if turn % 2 else None
    else:
        spoil_time(doc, turn)
    return doc


def _app(plan: Plan, rng: Random, index: int) -> Doc:
    form = rng.choices(list(FORMS), weights=[weight for weight, _ in FORMS.values()])[0]
    worker = 10 * rng.randrange(max(1, plan.counts["person"] // 10))
    patient = rng.randrange(plan.counts["person"])
    doc: Doc = {"_id": plan.uuid("report", index), "type": "data_record", "form": form, "content_type": "xml"}
    doc |= {"reported_date": plan.moment(rng), "contact": plan.contact("person", worker), "from": phone(rng)}
    fields: Doc = {"inputs": _inputs(rng, patient)}
    if form == "stock_report":
        fields |= {"place_id": plan.uuid("health_center", worker % plan.counts["health_center"])}
    else:
        fields |= _patient(plan, rng, patient)
    doc["fields"] = fields | FORMS[form][1](plan, rng)
    # Where the patient is named differs with the age of a form: on top, in the fields, or by uuid only.
    if form != "stock_report" and rng.random() < 0.3:
        doc["patient_id"] = f"{10_000 + patient}"
    doc["hidden_fields"] = ["meta"]
    doc["form_version"] = {"time": plan.now_ms - 400 * DAY, "sha256": plan.uuid("form", sum(form.encode())) * 2}
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


def _pregnancy(plan: Plan, rng: Random) -> Doc:
    week = rng.randrange(4, 40)
    lmp = iso(plan.now_ms - week * 7 * DAY)[:10]
    return {
        "gestational_age": {"method": "lmp", "lmp_date_8601": lmp, "weeks": week, "edd": iso(plan.now_ms)[:10]},
        "anc_visits_hf": {"past": {"anc_visits_hf_past": str(rng.randrange(5)), "none": ""}},
        "danger_signs": {sign: rng.choice(("yes", "no")) for sign in ("vaginal_bleeding", "fits", "severe_headache")},
        "safe_pregnancy_practices": {"llin_use": rng.choice(("yes", "no")), "iron_folate": "yes"},
        "summary": {"r_note": rng.choice(NOTES), "r_followup": "true"},
    }


def _home_visit(plan: Plan, rng: Random) -> Doc:
    return {
        "pregnancy_summary": {"g_age_correct": "yes", "lmp_updated": "", "visit_option": "yes"},
        "anc_visits_hf": {"count": rng.randrange(8), "next_date": iso(plan.now_ms + 14 * DAY)[:10]},
        "danger_signs": {"r_danger_sign_present": rng.choice(("yes", "no", "no")), "congratulate_no_ds_note": ""},
    }


def _delivery(plan: Plan, rng: Random) -> Doc:
    babies = [
        {
            "baby_condition": rng.choice(("alive_well", "alive_unwell")), "baby_name": person_name(rng, "female"),
            "baby_sex": rng.choice(("male", "female")), "birth_weight": round(rng.uniform(1.8, 4.6), 2),
        }
        for _ in range(rng.choice((1, 1, 1, 2)))
    ]  # fmt: skip
    return {
        "delivery_outcome": {"babies_delivered": str(len(babies)), "delivery_date": iso(plan.moment(rng, 300))[:10]},
        "delivery_place": rng.choice(("health_facility", "home", "other")),
        "babies": babies,
        "pnc_visits": {"days": "1 3 7 42", "within_24_hrs": rng.choice(("yes", "no"))},
    }


def _assessment(_plan: Plan, rng: Random) -> Doc:
    found = rng.sample(SYMPTOMS, rng.randrange(4))
    return {
        "group_fever": {"patient_fever": "yes" if "fever" in found else "no", "fever_duration": rng.randrange(14)},
        "group_breathing": {"breath_count": rng.randrange(20, 90), "chest_indrawing": "no"},
        "group_diagnosis": {"symptoms": " ".join(found), "muac": round(rng.uniform(9.5, 17), 1)},
        "treatment": {"given": rng.sample(STOCK, 2), "referral": rng.choice(("yes", "no", "no", "no"))},
        "note": rng.choice(NOTES),
    }


def _immunization(plan: Plan, rng: Random) -> Doc:
    given = rng.sample(VACCINES, rng.randrange(1, 5))
    return {
        "vaccines_received": {f"received_{name}": "yes" if name in given else "no" for name in VACCINES},
        "visit_date": iso(plan.moment(rng, 500))[:10],
        "next_visit_date": iso(plan.now_ms + 30 * DAY)[:10],
    }


def _stock(plan: Plan, rng: Random) -> Doc:
    items = {item: {key: rng.randrange(60) for key in ("received", "used", "left")} for item in STOCK}
    return {"period": iso(plan.moment(rng, 400))[:7], "items": items, "stock_out": rng.sample(STOCK, 2)}


FORMS: dict[str, tuple[int, Callable[[Plan, Random], Doc]]] = {
    "pregnancy": (15, _pregnancy),
    "pregnancy_home_visit": (20, _home_visit),
    "delivery": (8, _delivery),
    "assessment": (35, _assessment),
    "immunization_visit": (15, _immunization),
    "stock_report": (7, _stock),
}


def _sms(plan: Plan, rng: Random, index: int) -> Doc:
    sender, sent = phone(rng), plan.moment(rng)
    patient = f"{10_000 + rng.randrange(plan.counts['person'])}"
    form = rng.choice(("P", "D", "V", None))
    doc: Doc = {"_id": plan.uuid("report", index), "type": "data_record", "from": sender, "form": form}
    text = f"1!{form}!{patient}#{rng.choice(NOTES)}" if form else rng.choice(NOTES)
    doc |= {"reported_date": sent, "errors": [], "tasks": [], "fields": {}, "read": [], "responses": []}
    doc["sms_message"] = {
        "message_id": f"{index}", "sent_timestamp": str(sent), "message": text, "from": sender,
        "type": "sms_message", "form": form, "locale": "ne",
    }  # fmt: skip
    if form:
        doc["fields"] = {"patient_id": patient, "last_menstrual_period": str(rng.randrange(40))}
        doc["kujua_message"] = True
    if rng.random() < 0.5:
        doc["contact"] = plan.contact("person", 10 * rng.randrange(max(1, plan.counts["person"] // 10)))
    if rng.random() < 0.2:
        doc["errors"] = [{"code": "registration_not_found", "message": f"No patient with id '{patient}' 🚫"}]
    else:
        doc["tasks"] = [_task(rng, sender, sent)]
    return doc


def _task(rng: Random, sender: str, sent: int) -> Doc:
    message = {"to": sender, "message": "धन्यवाद! Thank you.", "uuid": f"{rng.getrandbits(128):032x}"}
    history = [{"state": state, "timestamp": iso(sent + n)} for n, state in enumerate(("pending", "sent", "delivered"))]
    return {"messages": [message], "state": "delivered", "state_history": history, "gateway_ref": f"{rng.random():.9f}"}
