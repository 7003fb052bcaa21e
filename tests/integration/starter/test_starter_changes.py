"""How deletes, edits and changes of type reach every table, and what a reader sees meanwhile."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import pytest
from starter_documents import CONTACTS, contact, person, place, report, settings, telemetry
from starter_warehouse import Warehouse

pytestmark = pytest.mark.integration


def test_deletes_reach_every_table_and_documents_come_back(warehouse: Warehouse) -> None:
    """A tombstone takes the rows of its document everywhere; a newer revision brings them back."""
    holders = {
        "p": ("document_metadata", "contact", "person", "patient", "document_rejects"),
        "c": ("document_metadata", "contact", "place"),
        "r": ("document_metadata", "data_record"),
        "f": ("document_metadata", "feedback"),
        "t": ("document_metadata", "telemetry", "telemetry_devices"),
    }
    documents = [
        person("p", patient_id="1", reported_date="x"),
        place("c"),
        report("r"),
        {"_id": "f", "type": "feedback"},
        telemetry("t"),
    ]
    user = {"_id": "org.couchdb.user:u", "type": "user-settings"}

    def assert_present(present: bool) -> None:
        for uuid, tables in holders.items():
            for table in tables:
                assert (uuid in warehouse.ids(table)) is present, (uuid, table)
        assert warehouse.value('select count(*) from "user"') == int(present)

    warehouse.save(*documents, user)
    warehouse.run()
    assert_present(True)
    warehouse.delete(*holders, user["_id"])
    warehouse.run()
    assert_present(False)
    # Documents whose type has no model are left out of the models only.
    warehouse.save(*documents, user, {"_id": "other", "type": "task"})
    warehouse.run()
    assert_present(True)
    assert "other" in warehouse.ids("document_metadata")


def test_a_change_of_type_moves_the_rows(warehouse: Warehouse) -> None:
    """Rows that no longer qualify go, whatever the document became."""
    warehouse.save(
        settings({"id": "chw", "person": True}, {"id": "village"}),
        person("to-report", patient_id="1"),
        report("to-person"),
        contact("to-place", "chw", patient_id="2"),
        contact("to-person-type", "village"),
        person("no-patient-any-more", patient_id="3"),
        person("other-name", patient_id="4"),
        telemetry("to-feedback"),
    )
    warehouse.run()
    assert warehouse.ids("patient") == {"to-report", "to-place", "no-patient-any-more", "other-name"}
    warehouse.save(
        report("to-report"),
        person("to-person"),
        contact("to-place", "village", patient_id="2"),
        contact("to-person-type", "chw"),
        person("no-patient-any-more"),
        person("other-name", patient_id="5"),
        {"_id": "to-feedback", "type": "feedback"},
    )
    warehouse.run()
    assert warehouse.ids("data_record") == {"to-report"}
    assert warehouse.ids("person") == {"to-person", "to-person-type", "no-patient-any-more", "other-name"}
    assert warehouse.ids("place") == {"to-place"}
    assert warehouse.rows("select uuid, patient_id from patient") == [("other-name", "5")]
    assert warehouse.ids("telemetry") == warehouse.ids("telemetry_devices") == set()
    assert warehouse.ids("feedback") == {"to-feedback"}


def test_contact_types_follow_the_settings(warehouse: Warehouse) -> None:
    """A changed person flag moves all contacts of the type, old ones too; unused types go."""
    select = ("--select", *CONTACTS)
    warehouse.save(settings({"id": "chw"}, {"id": "unused"}))
    warehouse.save(contact("a", "chw", patient_id="1"), person("b"), contact("z", "gone"))
    warehouse.save(place("newest"))
    warehouse.run(*select)
    assert warehouse.ids("place") == {"a", "newest"}
    assert warehouse.ids("contact") == {"a", "b", "z", "newest"}
    assert warehouse.column("select id from contact_type where configured") == {"chw", "unused"}
    assert warehouse.column("select id from contact_type where not configured") == {"person", "gone", "clinic"}

    warehouse.save(settings({"id": "chw", "person": True}))
    warehouse.delete("z")
    warehouse.run(*select)
    assert warehouse.ids("person") == {"a", "b"}
    assert warehouse.ids("place") == {"newest"}
    assert warehouse.ids("patient") == {"a"}
    assert warehouse.rows("select * from contact_type order by id") == [
        ("chw", True, True),
        ("clinic", False, False),
        ("person", True, False),
    ]

    warehouse.delete("settings")
    warehouse.run(*select)
    assert warehouse.ids("place") == {"newest"}
    assert warehouse.ids("patient") == warehouse.ids("person") - {"b"} == set()
    assert warehouse.rows("select * from contact_type where id = 'chw'") == [("chw", None, False)]


@contextmanager
def watched(dsn: str, queries: dict[str, str]) -> Iterator[dict[str, set[int]]]:
    """Poll counts in a connection of their own, as a dashboard would, and collect every value seen."""
    seen: dict[str, set[int]] = {name: set() for name in queries}
    done = threading.Event()

    def poll() -> None:
        with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            while not done.is_set():
                for name, query in queries.items():
                    cursor.execute(query)
                    seen[name].add(cursor.fetchone()[0])

    thread = threading.Thread(target=poll)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def test_an_edited_row_is_never_absent(warehouse: Warehouse) -> None:
    """Readers see every edited row during every run, also of full refreshes, and foreign keys never fire."""
    people = [person(f"p{n}", patient_id=str(n)) for n in range(50)]
    reports = [report(f"r{n}") for n in range(50)]
    warehouse.save(*people, *reports)
    select = ("--select", *CONTACTS, "data_record")
    warehouse.run(*select)
    tables = ("document_metadata", "contact", "person", "patient", "data_record")
    with watched(warehouse.dsn, {table: f"select count(*) from v1.{table}" for table in tables}) as seen:
        for name in ("first", "second"):
            warehouse.save(*({**p, "name": name} for p in people), *({**r, "form": name} for r in reports))
            warehouse.run(*select)
        warehouse.run(*select, "--full-refresh")
    assert seen == {"document_metadata": {100}, "contact": {50}, "person": {50}, "patient": {50}, "data_record": {50}}
    assert warehouse.column("select name from contact") == {"second"}
    assert warehouse.column("select form from data_record") == {"second"}


def test_documents_that_change_between_two_models(warehouse: Warehouse) -> None:
    """The raw table may be ahead of document_metadata: nothing is made of a tombstone or of another type."""
    warehouse.save(person("deleted"), person("retyped"), report("also-retyped"))
    select = ("--select", *CONTACTS, "data_record")
    warehouse.run("--select", "document_metadata")
    warehouse.delete("deleted")
    warehouse.save(report("retyped"), person("also-retyped"))
    warehouse.run("--select", *CONTACTS[1:], "data_record")
    assert warehouse.ids("contact") == warehouse.ids("data_record") == set()
    assert warehouse.rows("select * from contact_type") == []
    warehouse.run(*select)
    assert warehouse.ids("contact") == {"also-retyped"}
    assert warehouse.ids("data_record") == {"retyped"}
