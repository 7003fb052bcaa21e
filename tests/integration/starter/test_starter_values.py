"""What the models make of the values in documents, good and malformed."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from starter_documents import MODELS, REPORTED, contact, person, place, report, settings, telemetry
from starter_warehouse import Warehouse, failures

pytestmark = pytest.mark.integration

REPORTED_AT = datetime.fromtimestamp(REPORTED / 1000, UTC)
TOO_LONG = "".join(f"{n:x}" for n in range(1500))

GOOD_DATES: list[tuple[Any, datetime | None]] = [
    (REPORTED, REPORTED_AT),
    (str(REPORTED), REPORTED_AT),
    (f" {REPORTED} ", REPORTED_AT),
    (1.7e12, REPORTED_AT),
    (" +1700000000000.000 ", REPORTED_AT),
    (10**11, datetime(1973, 3, 3, 9, 46, 40, tzinfo=UTC)),
    ("", None),
    (None, None),
]
MALFORMED_DATES: list[Any] = [
    "yesterday", "2024-01-01", 1700000000000.5, "1.7e12", "1700000000000.5", True, {"a": 1}, [1], "-",
    0, -1000, 1_700_000_000, "1700000000", -1_700_000_000_000, 10**11 - 1, 1_700_000_000_000_000,
    10**18, 10**30, "9" * 400, 9_224_318_016_000_000, 253_402_300_800_000, "\u0661\u0667\u0660\u0660", "0x10", "NaN",
]  # fmt: skip


def rejected(warehouse: Warehouse) -> dict[tuple[str, str], str]:
    """The values in document_rejects by uuid and field."""
    return {
        (uuid, field): value for uuid, field, value in warehouse.rows("select uuid, field, value from document_rejects")
    }


def test_malformed_values_become_null_and_are_listed(warehouse: Warehouse) -> None:
    """No value fails a run, and each that is null for its shape is in document_rejects."""
    good = {f"good{n}": value for n, (value, _) in enumerate(GOOD_DATES)}
    bad = {f"bad{n}": value for n, value in enumerate(MALFORMED_DATES)}
    for uuid, value in {**good, **bad}.items():
        warehouse.save(person(uuid, reported_date=value), report(f"r-{uuid}", reported_date=value))
    warehouse.save(
        person("text-parent", parent="district"),
        person("list-parent", parent=[{"_id": "a"}]),
        person("empty-parent", parent=""),
        person("muted-object", muted={"since": 1}),
        person("muted-text", muted="2024-01-01T00:00:00Z"),
        person("muted-true", muted=True),
        person("muted-empty", muted=""),
        person("long-parent", parent={"_id": TOO_LONG}),
        place("long-place", place_id=TOO_LONG),
        contact("long-type", TOO_LONG),
        report("text-contact", contact="ada", **{"from": TOO_LONG}, patient_id=TOO_LONG),
        report("odd-ancestors", contact={"_id": "a", "parent": {"_id": "b", "parent": 7}}, form={"code": "x"}),
        report("odd-fields", fields=["patient_id"]),
        {"_id": "long-doc-type", "type": TOO_LONG},
        {"_id": "odd-doc-type", "type": {"a": [1, 2]}},
        {"_id": "no-type"},
        {"_id": "org.couchdb.user:x", "type": "user-settings", "roles": {"a": 1}, "contact_id": 5},
        {"_id": "odd-feedback", "type": "feedback", "meta": "text", "info": {"message": ["x"]}},
        {"_id": "long-feedback", "type": "feedback", "meta": {"user": {"name": TOO_LONG}, "time": TOO_LONG}},
        {"_id": "bare-telemetry", "type": "telemetry"},
        telemetry("odd-telemetry", metrics={"boot_time": "fast"}, dbInfo={"doc_count": "many"}),
        telemetry("odd-metrics", metrics={"boot_time": {"min": "1,5", "max": {"a": 1}, "count": True}}),
        telemetry("odd-device", device={"deviceInfo": {"storage": {"free": "1 GB", "total": "2e3"}}}),
    )
    result = warehouse.dbt("run")
    assert result.success, failures(result)

    for n, (_, expected) in enumerate(GOOD_DATES):
        for table, uuid in (("contact", f"good{n}"), ("data_record", f"r-good{n}")):
            assert warehouse.value(f"select reported from {table} where uuid = %s", uuid) == expected
    assert warehouse.value("select count(reported) from contact where uuid like 'bad%'") == 0
    assert warehouse.value("select count(reported) from data_record where uuid like 'r-bad%'") == 0
    assert warehouse.value("select count(*) from contact where uuid like 'bad%'") == len(bad)

    rejects = rejected(warehouse)
    assert {uuid for uuid, field in rejects if field == "reported"} == {*bad, *(f"r-{uuid}" for uuid in bad)}
    assert {key for key in rejects if key[1] != "reported"} == {
        ("text-parent", "parent_uuid"),
        ("list-parent", "parent_uuid"),
        ("long-parent", "parent_uuid"),
        ("muted-object", "muted"),
        ("long-place", "place_id"),
        ("long-type", "contact_type"),
        ("text-contact", "contact_uuid"),
        ("text-contact", "parent_uuid"),
        ("text-contact", "grandparent_uuid"),
        ("text-contact", "from_phone"),
        ("text-contact", "patient_id"),
        ("odd-ancestors", "grandparent_uuid"),
        ("odd-ancestors", "form"),
        ("odd-fields", "patient_id"),
        ("odd-fields", "place_id"),
        ("long-doc-type", "doc_type"),
        ("odd-doc-type", "doc_type"),
        ("org.couchdb.user:x", "roles"),
        *(("odd-feedback", field) for field in ("source", "url", "user_name", "period_start", "message")),
        ("long-feedback", "user_name"),
        ("long-feedback", "period_start"),
        ("odd-telemetry", "doc_count_on_local_db"),
        *(("odd-telemetry", f"boot_time_{part}") for part in ("min", "max", "count")),
        ("odd-metrics", "boot_time_min"),
        ("odd-metrics", "boot_time_max"),
        ("odd-metrics", "boot_time_count"),
        ("odd-device", "storage_free"),
    }
    assert rejects["text-parent", "parent_uuid"] == "district"
    assert max(len(value) for value in rejects.values()) == 200
    assert dict(warehouse.rows("select uuid, muted from contact where uuid like 'muted%'")) == {
        "muted-object": None,
        "muted-text": "2024-01-01T00:00:00Z",
        "muted-true": "true",
        "muted-empty": None,
    }

    # A mended or deleted document leaves the list, one that stays malformed does not.
    warehouse.save(person("bad0"), person("text-parent", parent={"_id": "p"}, reported_date="soon"))
    warehouse.delete("bad1", "odd-metrics")
    warehouse.run("--select", "document_metadata", "document_rejects")
    rejects = rejected(warehouse)
    assert not {"bad0", "bad1", "odd-metrics"} & {uuid for uuid, _ in rejects}
    assert [field for uuid, field in rejects if uuid == "text-parent"] == ["reported"]


def test_telemetry_periods(warehouse: Warehouse) -> None:
    """Months counted from zero by old apps, days that do not exist, pieces that are missing."""
    cases: dict[str, tuple[dict[str, Any], str | None, bool]] = {
        "new": ({"year": 2024, "month": 9, "day": 11, "versions": {"app": "4.15.0"}}, "2024-09-11", False),
        "old": ({"year": 2020, "month": 0, "day": 5, "versions": {"app": "3.7.1"}}, "2020-01-05", False),
        "oldest": ({"year": 2019, "month": 11, "versions": {"app": "v3.6.0-beta.1"}}, "2019-12-01", False),
        "border": ({"year": 2020, "month": 2, "day": 29, "versions": {"app": "3.8.0"}}, "2020-02-29", False),
        "text": ({"year": "2024", "month": "09", "day": "", "versions": {"app": "4.1.0"}}, "2024-09-01", False),
        **{
            f"old {version}": ({"year": 2020, "month": 1, "versions": {"app": version}}, "2020-02-01", False)
            for version in (
                "3.7",
                "3.7.x",
                "v3.7",
                "V 3.7.1",
                "medic:medic:3.7.1-beta.2",
                "3.7.1.6922454971",
                "2",
                3.7,
                "3_6_0",
            )
        },
        **{
            f"new {version}": ({"year": 2020, "month": 1, "versions": {"app": version}}, "2020-01-01", False)
            for version in ("3.8", "3.8.x", "v3.10.0-alpha.3", "4", "4.0.0-6952-branch.1", "cht-core 4.2.1", 3.9)
        },
        **{
            f"unknown {version}": ({"year": 2020, "month": 1, "versions": {"app": version}}, None, True)
            for version in (
                "3",
                "3.x",
                "unknown",
                "master",
                "6952-branch",
                "2019-11-05",
                "",
                None,
                ["3.7.1"],
                {"version": "3.7.1"},
            )
        },
        "zero": ({"year": 2020, "month": 0, "versions": {"app": "unknown"}}, "2020-01-01", False),
        "twelve": ({"year": 2020, "month": 12}, "2020-12-01", False),
        "no version": ({"year": 2020, "month": 11}, None, True),
        "with a day": ({"year": 2023, "month": 11, "day": 30, "versions": {"app": "unknown"}}, "2023-11-30", False),
        "no-leap": ({"year": 2023, "month": 2, "day": 29}, None, True),
        "month-13": ({"year": 2024, "month": 12, "versions": {"app": "3.0.0"}}, None, True),
        "month-0": ({"year": 2024, "month": 0, "versions": {"app": "4.0.0"}}, None, True),
        "words": ({"year": "this", "month": "May"}, None, True),
        "float": ({"year": 2024, "month": 1.5}, None, True),
        "object": ({"year": 2024, "month": {"a": 1}}, None, True),
        "year-0": ({"year": "0000", "month": 1}, None, True),
        "huge": ({"year": 10**20, "month": 1, "versions": {"app": "99999999999.1.1"}}, None, True),
        "no-month": ({"year": 2024}, None, True),
        "nothing": ({}, None, False),
        "a-list": ([], None, False),  # type: ignore[dict-item]
    }
    warehouse.save(*(telemetry(uuid, metadata=metadata) for uuid, (metadata, _, _) in cases.items()))
    warehouse.run("--select", "+telemetry_devices", "+document_rejects")
    for table in ("telemetry", "telemetry_devices"):
        found = dict(warehouse.rows(f"select uuid, to_char(period_start, 'YYYY-MM-DD') from {table}"))
        assert found == {uuid: period for uuid, (_, period, _) in cases.items()}
    periods = {uuid for uuid, field in rejected(warehouse) if field == "period_start"}
    assert periods == {uuid for uuid, case in cases.items() if case[2]}


def test_malformed_settings(warehouse: Warehouse) -> None:
    """Entries of contact_types that make no sense are passed over and listed."""
    warehouse.save(
        settings(
            {"id": "chw", "person": True},
            {"id": "chw", "person": False},
            {"id": "visitor", "person": "yes"},
            {"id": "odd", "person": {"a": 1}},
            {"name": "no id"},
            "text",
            7,
            None,
            {"id": ""},
            {"id": TOO_LONG, "person": True},
        ),
        contact("c", "chw"),
    )
    select = ("--select", "document_metadata", "contact", "contact_type", "document_rejects")
    warehouse.run(*select)
    types = {row[0]: row[1:] for row in warehouse.rows("select * from contact_type")}
    assert types == {"chw": (True, True), "visitor": (True, True), "odd": (None, True)}
    assert {field for _, field in rejected(warehouse)} == {
        "contact_types[3].person",
        *(f"contact_types[{n}].id" for n in range(4, 10)),
    }

    for value in ("text", {"a": 1}):
        warehouse.save({"_id": "settings", "settings": {"contact_types": value}})
        warehouse.run(*select)
        assert set(rejected(warehouse)) == {("settings", "contact_types"), ("c", "contact_type")}
        assert warehouse.rows("select * from contact_type") == [("chw", None, False)]
    warehouse.save({"_id": "settings", "settings": "text"})
    warehouse.run(*select)
    assert rejected(warehouse) == {("c", "contact_type"): "chw"}
    warehouse.save(settings({"id": "chw", "person": True}))
    warehouse.run(*select)
    assert rejected(warehouse) == {}


def test_columns_and_types(warehouse: Warehouse) -> None:
    """Columns, their order and their types are those that dashboards know."""
    text, stamp, zoned = "text", "timestamp without time zone", "timestamp with time zone"
    expected = {
        "document_metadata": "uuid, saved_timestamp, _deleted, doc_type, instance, dbname",
        "contact": "uuid, saved_timestamp, reported, parent_uuid, name, contact_type, active, notes, muted",
        "contact_type": "id, person, configured",
        "person": "uuid, saved_timestamp, sex, phone, phone2, patient_id",
        "place": "uuid, saved_timestamp, contact_id, place_id",
        "patient": "uuid, saved_timestamp, patient_id",
        "data_record": "uuid, saved_timestamp, reported, form, from_phone, patient_id, place_id, contact_uuid, "
        "parent_uuid, grandparent_uuid",
        "user": "user_id, saved_timestamp, contact_uuid, language, roles",
        "feedback": "uuid, saved_timestamp, source, url, user_name, period_start, cause, message",
        "telemetry": "uuid, saved_timestamp, period_start, user_name, app_version, boot_time_min, boot_time_max, "
        "boot_time_count, doc_count_on_local_db",
        "telemetry_devices": "uuid, saved_timestamp, period_start, device_manufacturer, device_model, user_agent, "
        "cht_android_version, android_version, storage_free, storage_total, network_up_speed, network_down_speed",
    }
    types = {"saved_timestamp": stamp, "reported": zoned, "_deleted": "boolean", "configured": "boolean"}
    warehouse.save(telemetry("t"), person("p"), report("r"))
    warehouse.run()
    found: dict[str, dict[str, str]] = {}
    for table, column, kind in warehouse.rows(
        "select table_name, column_name, data_type from information_schema.columns "
        "where table_schema = 'v1' order by table_name, ordinal_position"
    ):
        found.setdefault(table, {})[column] = kind
    for table, columns in expected.items():
        assert ", ".join(found[table]) == columns
        for column, kind in found[table].items():
            wanted = types.get(column, text)
            if (table, column) == ("contact_type", "person"):
                wanted = "boolean"
            if column == "period_start" and table != "feedback":
                wanted = zoned
            assert kind == wanted, (table, column)
    assert set(MODELS) | {"dbt_results", "dbt_progress", "cht_edited_keys", "couchdb"} == set(found)
    assert warehouse.rows("select * from telemetry_devices") == [
        ("t", warehouse.value("select saved_timestamp from telemetry"), datetime(2024, 9, 11, tzinfo=UTC),
         "Google", "Pixel", "Chrome", "1.0", "14", "100", "200", "10", "20")
    ]  # fmt: skip


def test_values_of_each_model(warehouse: Warehouse) -> None:
    """The fields of ordinary documents end in their columns."""
    chain = {"_id": "chw", "parent": {"_id": "clinic", "parent": {"_id": "hc"}}}
    warehouse.save(
        place("clinic", place_id="P1", contact_id="chw", parent={"_id": "hc"}, is_active=True, notes="far"),
        person("chw", phone="1", alternative_phone="2", sex="female", patient_id="N1"),
        report("app", contact=chain, fields={"patient_uuid": "u", "place_id": "P1"}),
        report("sms", patient_id="N1", fields={"patient_id": "other"}, **{"from": "+1"}),
        {"_id": "org.couchdb.user:ada", "type": "user-settings", "facility_id": "clinic", "roles": ["chw"],
         "language": "sw"},
        {"_id": "f", "type": "feedback", "meta": {"source": "automatic", "url": "u", "user": {"name": "ada"},
         "time": "2024-01-01"}, "info": {"cause": "c", "message": "m"}},
        {"_id": "g", "type": "feedback", "info": "plain"},
    )  # fmt: skip
    warehouse.run()
    assert warehouse.rows("select reported, parent_uuid, name, contact_type, active, notes from contact where uuid = 'clinic'") == [
        (REPORTED_AT, "hc", "Place clinic", "clinic", "true", "far")
    ]  # fmt: skip
    assert warehouse.rows("select uuid, contact_id, place_id from place") == [("clinic", "chw", "P1")]
    assert warehouse.rows("select uuid, sex, phone, phone2, patient_id from person") == [
        ("chw", "female", "1", "2", "N1")
    ]
    assert warehouse.rows("select uuid, patient_id from patient") == [("chw", "N1")]
    assert warehouse.rows(
        "select uuid, form, from_phone, patient_id, place_id, contact_uuid, parent_uuid, grandparent_uuid "
        "from data_record order by uuid"
    ) == [
        ("app", "pregnancy", None, "u", "P1", "chw", "clinic", "hc"),
        ("sms", "pregnancy", "+1", "N1", None, None, None, None),
    ]
    assert warehouse.rows('select user_id, contact_uuid, language, roles from "user"') == [
        ("org.couchdb.user:ada", "clinic", "sw", '["chw"]')
    ]
    assert [row[2:] for row in warehouse.rows("select * from feedback order by uuid")] == [
        ("automatic", "u", "ada", "2024-01-01", "c", "m"),
        (None, None, None, None, "plain", None),
    ]
    assert warehouse.rows("select distinct _deleted, instance, dbname from document_metadata") == [
        (False, "couch.org", "medic")
    ]
    assert list(itertools.chain(*warehouse.rows("select count(*) from document_rejects"))) == [0]
