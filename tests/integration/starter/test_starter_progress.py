"""The watermark: nothing is lost, nothing is done twice, nothing goes on for ever."""

import json
from typing import Any

import pytest
from starter_documents import CONTACTS, MODELS, person, place, report, telemetry
from starter_warehouse import Warehouse

pytestmark = pytest.mark.integration


def versions(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Where each row of each model is stored and which transactions wrote or locked it."""
    stored = {
        table: warehouse.rows(f'select ctid::text, xmin::text, xmax::text from "{table}" order by ctid')
        for table in MODELS
    }
    stored["dbt_progress"] = warehouse.rows("select ctid::text, xmin::text from dbt_progress order by ctid")
    return stored


def test_batches_with_ties_and_tombstones(warehouse: Warehouse) -> None:
    """Batches move on through ties and through batches of nothing but tombstones, from the first on."""
    select = ("--select", "document_metadata", "contact")
    for n in range(3):
        warehouse.delete(f"never-seen{n}")
    warehouse.save(*(person(f"tie{n}") for n in range(5)))
    for n in range(5):
        warehouse.delete(f"tie{n}" if n < 2 else f"gone{n}")
    warehouse.save(place("last"))

    seen = []
    for _ in range(9):
        warehouse.run(*select, batch_size=2)
        seen.append(warehouse.value("select modelled_until from dbt_progress where model = 'document_metadata'"))
        assert warehouse.ids("contact") == warehouse.ids("document_metadata")
        if "last" in warehouse.ids("contact"):
            break
    assert warehouse.ids("contact") == {"tie2", "tie3", "tie4", "last"}
    assert seen == sorted(set(seen)), "each batch moves on"
    # Twelve rows, three of them with one stamp: 2, 1 + 3, 2, 2, 2.
    assert len(seen) == 5


def test_rows_of_one_stamp_seen_by_different_runs(warehouse: Warehouse) -> None:
    """A row that becomes visible after others of its stamp were modelled is not lost, nor is a delete."""
    select = ("--select", *CONTACTS, "data_record")
    at = warehouse.save(person("a", patient_id="1"), report("r"))
    warehouse.run(*select)
    warehouse.save(person("b", patient_id="2"), report("s"), at=at)
    warehouse.delete("a", at=at)
    warehouse.run(*select)
    assert warehouse.ids("patient") == warehouse.ids("person") == {"b"}
    assert warehouse.ids("data_record") == {"r", "s"}


def test_a_model_that_failed_catches_up(warehouse: Warehouse) -> None:
    """Each model has its own progress: after a failure it goes on where it stood, deletes and edits included."""
    select = ("--select", *CONTACTS, "data_record")
    warehouse.save(person("kept", name="old"), person("deleted"), person("retyped"), place("c"))
    warehouse.run(*select)
    warehouse.execute("alter table contact add constraint broken check (name <> 'boom') not valid")
    warehouse.save(person("kept", name="boom"), person("new"))
    failed = warehouse.dbt("run", *select)
    assert not failed.success
    assert {r.node.name: str(r.status) for r in failed.result.results if r.node.name in CONTACTS} == {
        "document_metadata": "success",
        "contact": "error",
        "contact_type": "skipped",
        "person": "skipped",
        "place": "skipped",
        "patient": "skipped",
    }
    # Later changes are newer than what failed, and the newest row of the model that failed is deleted.
    warehouse.save(person("later"), report("retyped"))
    warehouse.delete("deleted", "c")
    assert not warehouse.dbt("run", *select).success
    assert warehouse.value("select name from contact where uuid = 'kept'") == "old"

    warehouse.execute("alter table contact drop constraint broken")
    warehouse.run(*select)
    assert warehouse.ids("contact") == warehouse.ids("person") == {"kept", "new", "later"}
    assert warehouse.value("select name from contact where uuid = 'kept'") == "boom"
    assert warehouse.ids("place") == set()
    assert warehouse.value("select count(distinct modelled_until) from dbt_progress") == 1


def test_a_run_with_nothing_new_writes_nothing(warehouse: Warehouse) -> None:
    """Not a row of a model is written or locked, though the newest stamp is read again."""
    warehouse.save(person("a", patient_id="1"), place("b", reported_date="x"), report("c"), telemetry("d"))
    warehouse.delete("e")
    warehouse.save(person("f"))
    warehouse.delete("f", "g")
    warehouse.run()
    warehouse.run()  # The first run looked at everything, which the watermark shows until the second.
    before = versions(warehouse)
    affected = warehouse.run()
    assert versions(warehouse) == before
    assert set(affected.values()) <= {0, None}


def test_an_incremental_run_reads_by_index(warehouse: Warehouse) -> None:
    """No model scans the raw table, also not the models that hold no row at all."""
    warehouse.execute(
        "insert into couchdb select timestamp '2023-01-01' + n * interval '1 second', 'd' || n, false, 'h/medic', "
        "jsonb_build_object('_id', 'd' || n, 'type', (array['person', 'clinic', 'data_record'])[n % 3 + 1], "
        "'name', 'n' || n, 'patient_id', n, 'reported_date', 1700000000000 + n, 'form', 'f', 'pad', repeat('x', 500)) "
        "from generate_series(1, 6000) n"
    )
    warehouse.execute("analyze couchdb")
    warehouse.run()
    warehouse.save(*(person(f"new{n}", patient_id="x") for n in range(10)))
    result = warehouse.dbt("run")
    assert result.success
    names = set()
    for model in (r.node for r in result.result.results):
        if model.name not in MODELS:
            continue
        names.add(model.name)
        plan = json.dumps(warehouse.value(f"explain (format json) {model.compiled_code}"))
        nodes = scans(json.loads(plan)[0]["Plan"])
        scanned = {table for kind, table in nodes if kind == "Seq Scan"}
        assert not scanned & {"couchdb", "document_metadata", "contact", "person", "data_record"}, (model.name, nodes)
    assert names == set(MODELS)
    assert warehouse.value("select count(*) from feedback") == 0
    assert warehouse.value("select modelled_from is not null from dbt_progress where model = 'feedback'")


def scans(plan: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Kind and table of every node of a plan."""
    found = [(plan["Node Type"], plan.get("Relation Name"))]
    for child in plan.get("Plans", []):
        found += scans(child)
    return found
