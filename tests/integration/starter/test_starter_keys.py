"""Foreign keys and full refreshes, and databases that another project has filled before."""

import pytest
from starter_documents import CONTACTS, MODELS, contact, person, place, report, settings, telemetry
from starter_warehouse import Warehouse, failures

pytestmark = pytest.mark.integration

FOREIGN_KEYS = {
    ("contact", "document_metadata"),
    ("data_record", "document_metadata"),
    ("user", "document_metadata"),
    ("feedback", "document_metadata"),
    ("telemetry", "document_metadata"),
    ("telemetry_devices", "document_metadata"),
    ("document_rejects", "document_metadata"),
    ("person", "contact"),
    ("place", "contact"),
    ("patient", "contact"),
}


def foreign_keys(warehouse: Warehouse) -> list[tuple[str, str]]:
    """Child and parent of every foreign key that deletes on cascade."""
    return warehouse.rows(
        "select c.conrelid::regclass::text, c.confrelid::regclass::text from pg_constraint c "
        "where c.contype = 'f' and c.confdeltype = 'c'"
    )


def assert_foreign_keys(warehouse: Warehouse) -> None:
    """Every foreign key is there, once."""
    assert sorted((child.strip('"'), parent) for child, parent in foreign_keys(warehouse)) == sorted(FOREIGN_KEYS)


def fill(warehouse: Warehouse) -> None:
    """Save documents of every kind."""
    warehouse.save(
        person("p", patient_id="1"), place("c"), report("r", reported_date="x"), telemetry("t"),
        {"_id": "f", "type": "feedback"}, {"_id": "org.couchdb.user:u", "type": "user-settings"},
    )  # fmt: skip


def test_a_full_refresh_keeps_tables_keys_and_views(warehouse: Warehouse) -> None:
    """It compares in place: what strayed is mended, what hangs on the tables stays."""
    fill(warehouse)
    warehouse.run()
    assert_foreign_keys(warehouse)
    warehouse.execute("create view dashboard as select c.uuid from document_metadata d join contact c using (uuid)")
    tables = warehouse.rows("select relname, oid from pg_class where relname in %s order by 1", MODELS)

    # Rows that no run wrote, and rows that are lost.
    warehouse.execute("insert into document_metadata (uuid) values ('stray')")
    warehouse.execute("insert into contact (uuid) values ('stray')")
    warehouse.execute("update contact set name = 'wrong'")
    warehouse.execute("delete from person")
    warehouse.execute("delete from document_metadata where uuid = 'r'")
    warehouse.run("--full-refresh", "--select", "document_metadata")
    assert_foreign_keys(warehouse)
    assert "stray" not in warehouse.ids("contact") | warehouse.ids("document_metadata")
    # The other models learn that rows older than their watermark came back.
    warehouse.run()
    assert warehouse.ids("data_record") == {"r"}
    assert warehouse.ids("person") == {"p"}
    assert "wrong" not in warehouse.column("select name from contact")

    warehouse.run("--full-refresh")
    assert_foreign_keys(warehouse)
    assert warehouse.rows("select relname, oid from pg_class where relname in %s order by 1", MODELS) == tables
    assert warehouse.value("select count(*) from dashboard") == 2


def test_tables_dropped_and_rebuilt(warehouse: Warehouse) -> None:
    """Where tables are dropped after all, the next run of their children puts the foreign keys back."""
    fill(warehouse)
    warehouse.run()
    for select in ((), ("--select", "document_metadata")):
        oid = warehouse.value("select 'document_metadata'::regclass::oid")
        result = warehouse.dbt("run", *select, variables={"drop_and_rebuild": True}, parse=True)
        assert result.success, failures(result)
        assert warehouse.value("select 'document_metadata'::regclass::oid") != oid
        if not select:
            assert_foreign_keys(warehouse)
    assert ("contact", "document_metadata") not in foreign_keys(warehouse)
    # A delete that no cascade carries while the keys are missing.
    warehouse.delete("p")
    warehouse.run()
    assert_foreign_keys(warehouse)
    for table in ("document_metadata", "contact", "person", "patient"):
        assert "p" not in warehouse.ids(table)
    assert warehouse.ids("place") == {"c"}


def test_a_table_dropped_by_hand_is_rebuilt(warehouse: Warehouse) -> None:
    """Progress belongs to the table: without it the model starts anew."""
    fill(warehouse)
    select = ("--select", *CONTACTS)
    warehouse.run(*select)
    warehouse.execute("drop table contact cascade")
    warehouse.run(*select)
    assert warehouse.ids("contact") == {"p", "c"}
    assert warehouse.ids("patient") == warehouse.ids("person") == {"p"}
    assert {("contact", "document_metadata"), ("person", "contact"), ("patient", "contact")} <= set(
        foreign_keys(warehouse)
    )


TABLES_OF_CHT_PIPELINE = """
create table document_metadata (
  uuid text unique, saved_timestamp timestamp, _deleted boolean, doc_type text, instance text, dbname text
);
create table contact (
  uuid text references v1.document_metadata (uuid) on delete cascade unique, saved_timestamp timestamp,
  reported timestamptz, parent_uuid text, name text, contact_type text, active text, notes text, muted text
);
create table contact_type (id text, person boolean, configured boolean);
create table person (
  uuid text references v1.contact (uuid) on delete cascade, saved_timestamp timestamp, sex text, patient_id text,
  phone text, phone2 text
);
create table place (
  uuid text references v1.contact (uuid) on delete cascade, saved_timestamp timestamp, place_id text, contact_id text
);
create table patient (
  uuid text references v1.contact (uuid) on delete cascade, saved_timestamp timestamp, patient_id text
);
create table data_record (
  uuid text references v1.document_metadata (uuid) on delete cascade unique, saved_timestamp timestamp,
  reported timestamptz, form text, from_phone text, patient_id text, place_id text, contact_uuid text,
  parent_uuid text, grandparent_uuid text
);
create table dbt_results (
  result_id text, invocation_id text, unique_id text, database_name text, schema_name text, name text,
  resource_type text, status text, start_time timestamp, end_time timestamp, execution_time double precision,
  rows_affected integer
);
create index on document_metadata using hash (uuid);
insert into document_metadata select _id, saved_timestamp, false, doc ->> 'type', 'couch.org', 'medic' from couchdb
where not _deleted;
insert into contact (uuid, saved_timestamp, name, contact_type)
select _id, saved_timestamp, doc ->> 'name', doc ->> 'type' from couchdb where _id in ('twice', 'older-place');
insert into contact_type values ('person', true, false), ('person', false, false), (null, false, false), ('x', true, true);
insert into person select uuid, saved_timestamp from contact where uuid = 'twice';
insert into person select uuid, saved_timestamp - interval '1 day', 'stale' from contact where uuid = 'twice';
insert into dbt_results (result_id, start_time) values ('old', now() - interval '15 days'), ('recent', now());
"""


def test_a_database_of_cht_pipeline_is_taken_over(warehouse: Warehouse) -> None:
    """The tables stay, keys they lack are added, and what they lost is found again."""
    warehouse.save(
        person("twice", patient_id="1"), person("lost", patient_id="2"), place("older-place"), report("lost-report")
    )
    warehouse.execute(TABLES_OF_CHT_PIPELINE)
    oid = warehouse.value("select 'person'::regclass::oid")
    warehouse.save(person("new"), settings({"id": "chw", "person": True}), contact("c", "chw"))
    warehouse.run()
    assert warehouse.value("select 'person'::regclass::oid") == oid
    assert warehouse.rows("select uuid, sex, patient_id from person order by uuid") == [
        ("c", None, None),
        ("lost", None, "2"),
        ("new", None, None),
        ("twice", None, "1"),
    ]
    assert warehouse.ids("place") == {"older-place"}
    assert warehouse.ids("patient") == {"twice", "lost"}
    assert warehouse.ids("data_record") == {"lost-report"}
    assert warehouse.rows("select * from contact_type order by id") == [
        ("chw", True, True),
        ("clinic", False, False),
        ("person", True, False),
    ]
    assert_foreign_keys(warehouse)
    assert warehouse.column("select result_id from dbt_results where unique_id is null") == {"recent"}
    warehouse.delete("twice")
    warehouse.run()
    assert "twice" not in warehouse.ids("person") | warehouse.ids("patient")
