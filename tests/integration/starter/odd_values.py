"""Odd values as they are seen in the field, for the page that shows what the starter and cht-pipeline make of them."""

from dataclasses import dataclass
from typing import Any

from starter_documents import REPORTED, contact, person, place, report, telemetry
from truth_tables import expected

FAILS = "the model fails"


@dataclass(frozen=True)
class Case:
    """A document that holds an odd value.

    :param shown: the value, as the page shows it.
    :param document: what holds it.
    :param column: model and column it ends in, with a dot between.
    :param upstream: what cht-pipeline 2.0.0 makes of it, as seen.
    """

    shown: str
    document: dict[str, Any]
    column: str
    upstream: str

    @property
    def starter(self) -> str:
        """What the starter has to make of it."""
        model, column = self.column.split(".")
        found = expected(self.document)
        if column == "*":
            return "a row" if model in found.rows else "no row, reject of `contact_type`"
        said = found.rows.get(model, {}).get(column)
        if said is None:
            return "null, reject" if column in found.rejects else "null"
        return f"`{said:%Y-%m-%d}`" if hasattr(said, "year") else f"`{said}`"


def _user(**more: Any) -> dict[str, Any]:
    return {"_id": "org.couchdb.user:ada", "type": "user-settings", **more}


def _period(month: Any, version: Any = None, **more: Any) -> dict[str, Any]:
    versions = {} if version is None else {"versions": {"app": version}}
    return telemetry("t", metadata={"year": 2020, "month": month, **versions, **more})


def _feedback(**more: Any) -> dict[str, Any]:
    return {"_id": "f", "type": "feedback", **more}


LONG = "".join(f"{n:x}" for n in range(1500))
SECTIONS: dict[str, list[Case]] = {
    "Dates: `reported_date`": [
        Case("`1700000000000`", person("p"), "contact.reported", "`2023-11-14`"),
        Case('`"1700000000000"`', person("p", reported_date=str(REPORTED)), "contact.reported", "`2023-11-14`"),
        Case("`1700000000`, seconds", person("p", reported_date=REPORTED // 1000), "contact.reported", "`1970-01-20`"),
        Case("`-1700000000000`", person("p", reported_date=-REPORTED), "contact.reported", "`1916-02-18`"),
        Case("`0`", person("p", reported_date=0), "contact.reported", "`1970-01-01`"),
        Case("`1700000000000.5`", person("p", reported_date=REPORTED + 0.5), "contact.reported", f"{FAILS}: invalid input syntax for type bigint: \"1700000000000.5\""),
        Case('`"2024-01-01"`', person("p", reported_date="2024-01-01"), "contact.reported", f"{FAILS}: invalid input syntax for type bigint: \"2024-01-01\""),
        Case('`""`', person("p", reported_date=""), "contact.reported", "null"),
        Case("a number of 31 digits", person("p", reported_date=10**30), "contact.reported", f"{FAILS}: value \"1000000000000000000000000000000\" is out of range for type bigint"),
    ],
    "Ids": [
        Case("`parent` is a text", person("p", parent="district"), "contact.parent_uuid", "null"),
        Case('`parent._id` is `""`', person("p", parent={"_id": ""}), "contact.parent_uuid", "an empty text"),
        Case('`parent._id` is `["a"]`', person("p", parent={"_id": ["a"]}), "contact.parent_uuid", '`["a"]`'),
        Case("`parent._id` of 4,228 characters", person("p", parent={"_id": LONG}), "contact.parent_uuid", f"{FAILS}: index row size 4240 exceeds btree version 4 maximum 2704"),
        Case('`patient_id` is `""`, `fields.patient_id` is `"N1"`',
             report("r", patient_id="", fields={"patient_id": "N1"}), "data_record.patient_id", "an empty text"),
        Case('`patient_id` is `{"_id": "a"}`, `fields.patient_uuid` is `"u"`',
             report("r", patient_id={"_id": "a"}, fields={"patient_uuid": "u"}), "data_record.patient_id", '`{"_id": "a"}`'),
        Case('`patient_id` is `["N1"]`', report("r", patient_id=["N1"]), "data_record.patient_id", '`["N1"]`'),
        Case('`place_id` is `""`, `fields.place_id` is `"P1"`',
             report("r", place_id="", fields={"place_id": "P1"}), "data_record.place_id", "an empty text"),
        Case('`place_id` of a place is `{"a": 1}`', place("c", place_id={"a": 1}), "place.place_id", '`{"a": 1}`'),
        Case('`contact_id` is `""`, `facility_id` is `"f"`', _user(contact_id="", facility_id="f"), "user.contact_uuid", "an empty text"),
        Case('`facility_id` is `["f", "g"]`', _user(facility_id=["f", "g"]), "user.contact_uuid", '`["f", "g"]`'),
        Case('`patient_id` of a person is `""`', person("p", patient_id=""), "person.patient_id", "an empty text"),
    ],
    "Types": [
        Case('`type` is `"Person"`', person("p") | {"type": "Person"}, "document_metadata.doc_type", "`Person`"),
        Case('`type` is `"person "`', person("p") | {"type": "person "}, "document_metadata.doc_type", "`person `"),
        Case('`type` is `["person"]`', person("p") | {"type": ["person"]}, "document_metadata.doc_type", '`["person"]`'),
        Case("`contact_type` that the settings do not know", contact("c", "mystery"), "place.*", "a row"),
        Case("`contact_type` is missing", {"_id": "c", "type": "contact"}, "contact.contact_type", "`contact`"),
        Case('`contact_type` is `["chw"]`', contact("c", ["chw"]), "contact.contact_type", '`["chw"]`'),  # type: ignore[arg-type]
    ],
    "Muted": [
        Case("`true`", person("p", muted=True), "contact.muted", "`true`"),
        Case("`false`", person("p", muted=False), "contact.muted", "`false`"),
        Case('`"false"`', person("p", muted="false"), "contact.muted", "`false`"),
        Case('`"2024-01-01T00:00:00.000Z"`', person("p", muted="2024-01-01T00:00:00.000Z"), "contact.muted", "`2024-01-01T00:00:00.000Z`"),
        Case('`"2024-02-30"`', person("p", muted="2024-02-30"), "contact.muted", "`2024-02-30`"),
        Case('`{"since": 1}`', person("p", muted={"since": 1}), "contact.muted", '`{"since": 1}`'),
    ],
    "Months of telemetry: `metadata`, of the year 2020": [
        Case('month `1`, app `"3.7.1"`', _period(1, "3.7.1"), "telemetry.period_start", "`2020-02-01`"),
        Case('month `1`, app `"3.7"`', _period(1, "3.7"), "telemetry.period_start", "`2020-01-01`"),
        Case('month `1`, app `"3.7.x"`', _period(1, "3.7.x"), "telemetry.period_start", "`2020-01-01`"),
        Case('month `1`, app `"3.8"`', _period(1, "3.8"), "telemetry.period_start", "`2020-01-01`"),
        Case('month `1`, app `"3.10.0-alpha.3"`', _period(1, "3.10.0-alpha.3"), "telemetry.period_start", "`2020-01-01`"),
        Case("month `1`, no version", _period(1), "telemetry.period_start", "`2020-01-01`"),
        Case("month `0`, no version", _period(0), "telemetry.period_start", f"{FAILS}: date/time field value out of range: \"2020-0-1\""),
        Case('month `1`, app `"unknown"`, day `5`', _period(1, "unknown", day=5), "telemetry.period_start", "`2020-01-05`"),
        Case('month `2`, day `30`, app `"4.2.0"`', _period(2, "4.2.0", day=30), "telemetry.period_start", f"{FAILS}: date/time field value out of range: \"2020-2-30\""),
        Case('month `"May"`', _period("May", "4.2.0"), "telemetry.period_start", f"{FAILS}: invalid input syntax for type integer: \"May\""),
    ],
    "Times, texts and numbers": [
        Case('`meta.time` is `"yesterday"`', _feedback(meta={"time": "yesterday"}), "feedback.period_start", "`yesterday`"),
        Case("`meta.time` is `1700000000000`", _feedback(meta={"time": REPORTED}), "feedback.period_start", "`1700000000000`"),
        Case('`meta.time` is `"2024-01-01T10:00:00.000Z"`', _feedback(meta={"time": "2024-01-01T10:00:00.000Z"}),
             "feedback.period_start", "`2024-01-01T10:00:00.000Z`"),
        Case('`name` is `["A", "B"]`', person("p", name=["A", "B"]), "contact.name", '`["A", "B"]`'),
        Case('`name` is `" "`', person("p", name=" "), "contact.name", "a blank"),
        Case('`roles` is `"chw"`', _user(roles="chw"), "user.roles", "`chw`"),
        Case('`metrics.boot_time.min` is `"1,5"`', telemetry("t", metrics={"boot_time": {"min": "1,5"}}),
             "telemetry.boot_time_min", "`1,5`"),
        Case("`dbInfo.doc_count` is `true`", telemetry("t", dbInfo={"doc_count": True}), "telemetry.doc_count_on_local_db", "`true`"),
        Case('`storage.free` is `"1 GB"`', telemetry("t", device={"deviceInfo": {"storage": {"free": "1 GB"}}}),
             "telemetry_devices.storage_free", "`1 GB`"),
    ],
}  # fmt: skip
CASES = [case for cases in SECTIONS.values() for case in cases]


def tables() -> str:
    """The tables of the page, as Markdown."""
    parts = []
    for title, cases in SECTIONS.items():
        parts += [
            f"### {title}",
            "",
            "| the document says | column | starter | cht-pipeline 2.0.0 |",
            "|---|---|---|---|",
        ]
        for case in cases:
            column = case.column.removesuffix(".*")
            parts.append(f"| {case.shown} | `{column}` | {case.starter} | {case.upstream} |")
        parts.append("")
    return "\n".join(parts)
