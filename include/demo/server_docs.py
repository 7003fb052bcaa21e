"""The documents every CHT server has, whatever its size, and its users."""

from collections.abc import Iterator
from typing import Any

from include.demo.activity import user_name
from include.demo.contacts import person_name, phone
from include.demo.forms.published import first_versions
from include.demo.forms.sms import sms_forms
from include.demo.names import LANGUAGES
from include.demo.plan import DAY, Plan

Doc = dict[str, Any]
# To the last one the server brings together what the app of each user writes about itself.
MEDIC, SENTINEL, USERS_META = "medic", "medic-sentinel", "medic-users-meta"
CONTACT_TYPES: tuple[Doc, ...] = (
    {"id": "district_hospital"},
    {"id": "health_center", "parents": ["district_hospital"]},
    {"id": "c20_community_unit", "parents": ["district_hospital"]},
    {"id": "clinic", "parents": ["health_center", "c20_community_unit"]},
    {"id": "c30_household", "parents": ["health_center", "c20_community_unit"], "count_visits": True},
    {"id": "person", "parents": ["health_center", "clinic", "c30_household"], "person": True},
    {"id": "c81_chw", "parents": ["health_center", "c20_community_unit"], "person": True},
    {"id": "c82_member", "parents": ["clinic", "c30_household"], "person": True},
    # Configured, and nobody uses it yet.
    {"id": "c90_school", "parents": ["health_center"], "person": False},
)


def fixed_documents(now_ms: int) -> Iterator[tuple[str, Doc]]:
    """Yield database and document of what does not depend on size or seed, without design documents.

    :param now_ms: time of the newest documents.
    """
    yield MEDIC, _settings()
    yield MEDIC, {"_id": "migration-log", "type": "meta", "migrations": ["extract-settings-doc", "create-meta-dbs"]}
    yield MEDIC, {"_id": "branding", "title": "CHT", "resources": {"logo": "logo.png", "favicon": "favicon.ico"}}
    yield MEDIC, {"_id": "resources", "resources": {"icon-pregnancy": "pregnancy.svg", "icon-chw": "chw.svg"}}
    yield MEDIC, {"_id": "partners", "resources": {}}
    yield MEDIC, {"_id": "service-worker-meta", "generated_at": 1_719_800_000_000}
    for code, name in zip(LANGUAGES, ("English", "नेपाली (Nepali)", "Kiswahili", "Français", "አማርኛ"), strict=True):
        generic = {f"key.{n}": f"{name} {n} — «…»" for n in range(12)}
        yield MEDIC, {"_id": f"messages-{code}", "type": "translations", "code": code, "name": name, "generic": generic}
    for version in first_versions(now_ms):
        yield MEDIC, version.document
    yield SENTINEL, {"_id": "transitions-seq", "type": "metadata", "value": "184-g1AAAACReJzLYWBgYMpgTmHgz8tPSTV0MDQy"}


def design_documents() -> Iterator[tuple[str, Doc]]:
    """Yield database and design document."""
    for name in ("medic", "medic-client"):
        yield MEDIC, _design(name, ("contacts_by_type", "reports_by_form", "reports_by_date"))
    yield SENTINEL, _design("sentinel", ("outbound_push_tasks",))


def user(plan: Plan, index: int) -> Doc:
    """Return the settings of a user: health workers, every tenth a supervisor, the first an administrator."""
    rng = plan.random("user", index)
    name = user_name(plan, index)
    doc: Doc = {"_id": f"org.couchdb.user:{name}", "type": "user-settings", "name": name}
    doc |= {
        "fullname": person_name(rng, "female"),
        "phone": phone(rng),
        "known": True,
        "language": rng.choice(LANGUAGES),
    }
    if index == 0:
        return doc | {"roles": ["national_admin", "data_entry"]}
    supervisor = index % 10 == 0
    center = index % plan.counts["health_center"]
    doc["roles"] = ["chw_supervisor", "mm-online"] if supervisor else ["chw"]
    doc["contact_id"] = plan.uuid("person", 10 * index % plan.counts["person"])
    # Since CHT 4.9 a user may have several places.
    places = [plan.uuid("health_center", center), plan.uuid("health_center", 0)]
    doc["facility_id"] = places if supervisor else places[0]
    return doc


def purgelog(plan: Plan, index: int) -> tuple[str, Doc]:
    """Return database and document of one night's purge."""
    time = plan.now_ms - index * DAY
    doc: Doc = {"_id": f"purgelog:{time}", "type": "purgelog", "date": time, "duration": 1000 + index}
    doc |= {"roles": {plan.uuid("roles", 0)[:32]: ["chw"]}, "skipped_contacts": [], "error": ""}
    return SENTINEL, doc


def info(plan: Plan, kind: str, index: int, doc: Doc) -> Doc:
    """Return the document in which Sentinel keeps what it did with another one.

    :param plan: the deployment.
    :param kind: kind of the other document.
    :param index: which one of its kind.
    :param doc: the other document.
    """
    rng = plan.random("info", index)
    received = plan.moment(rng)
    done = {
        name: {
            "last_rev": f"{n + 1}-{rng.getrandbits(128):032x}",
            "seq": f"{rng.randrange(10**6)}-g1AAAACReJz",
            "ok": True,
        }
        for n, name in enumerate(_transitions(kind))
    }
    return {
        "_id": f"{doc['_id']}-info", "type": "info", "doc_id": doc["_id"], "initial_replication_date": received,
        "latest_replication_date": received + rng.randrange(DAY), "transitions": done,
    }  # fmt: skip


def _transitions(kind: str) -> tuple[str, ...]:
    if kind == "report":
        return ("update_clinics", "accept_patient_reports", "self_report", "muting")
    return ("generate_patient_id_on_people", "generate_shortcode_on_contacts", "muting")


def _settings() -> Doc:
    types = [
        {**kind, "name_key": f"contact.type.{kind['id']}", "icon": f"icon-{kind['id']}",
         "create_form": f"form:contact:{kind['id']}:create", "edit_form": f"form:contact:{kind['id']}:edit"}
        for kind in CONTACT_TYPES
    ]  # fmt: skip
    settings = {
        "contact_types": types, "locale": "en", "locale_outgoing": "ne", "phone_validation": "full",
        "roles": {"chw": {"name": "usertype.chw", "offline": True}, "chw_supervisor": {"name": "usertype.supervisor"}},
        "permissions": {"can_edit": ["chw"], "can_view_reports": ["chw", "chw_supervisor"]},
        "transitions": {"muting": True, "update_clinics": True, "accept_patient_reports": True},
        "forms": sms_forms(),
    }  # fmt: skip
    return {"_id": "settings", "settings": settings}


def _design(name: str, views: tuple[str, ...]) -> Doc:
    source = "function (doc) { if (doc.type === 'data_record') { emit([doc.reported_date], null); } }"
    # No validate_doc_update: servers run it for every write, which would make the demo slower and show nothing.
    return {"_id": f"_design/{name}", "views": {view: {"map": source} for view in views}, "language": "javascript"}
