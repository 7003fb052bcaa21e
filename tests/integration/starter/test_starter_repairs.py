"""What a proof repairs reaches the models: they equal those that are built from scratch."""

from typing import Any
from urllib.parse import urlsplit

import pytest
from starter_documents import person, place, report
from starter_warehouse import Warehouse

from cht_sync.reconcile import comparison
from tests.integration.operators.test_operator import Couch, copy
from tests.integration.reconcile.proving import prove_all

pytestmark = pytest.mark.integration
MODELS = ("document_metadata", "contact", "person", "place", "patient", "data_record")
DAMAGE = (
    "delete from v1.couchdb where _id in ('person3', 'report4')",
    "update v1.couchdb set _deleted = true where _id in ('person5', 'place2')",
    "update v1.couchdb set _deleted = false where _id = 'report8'",
    "update v1.couchdb set doc = jsonb_set(doc || '{\"name\": \"old\"}', '{_rev}', '\"1-0\"') where _id = 'person6'",
    "insert into v1.couchdb select now(), 'person99', false, source, doc || '{\"_id\": \"person99\"}' from v1.couchdb"
    " where _id = 'person1'",
    "update v1.couchdb set saved_timestamp = now() where _id in ('person5', 'place2', 'report8', 'person6')",
)


def contents(warehouse: Warehouse) -> dict[str, set[Any]]:
    """Every row of every model, as text."""
    return {model: warehouse.column(f'select m::text from "{model}" m') for model in MODELS}


def test_models_after_a_repair_equal_those_from_scratch(
    warehouse: Warehouse, couchdb_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damage that the models have seen is undone in them, too."""
    monkeypatch.setattr(comparison, "RECHECK_AFTER_S", 0.02)
    monkeypatch.setenv("COUCHDB_HOST", "127.0.0.1")
    monkeypatch.setenv("COUCHDB_PORT", str(urlsplit(couchdb_server.url).port))
    monkeypatch.setenv("COUCHDB_USER", couchdb_server.user)
    monkeypatch.setenv("COUCHDB_PASSWORD", couchdb_server.password)
    couch = Couch(couchdb_server)
    made = [
        make(f"{kind}{n}")
        for n in range(10)
        for kind, make in (("person", person), ("place", place), ("report", report))
    ]
    revisions = dict(couch.write(*made))
    couch.write({"_id": "report8", "_rev": revisions["report8"], "_deleted": True})
    copy(couch)
    warehouse.run()
    before = contents(warehouse)
    for statement in DAMAGE:
        warehouse.execute(statement)
    warehouse.run()
    assert contents(warehouse) != before
    assert prove_all(couch.name, couch.source).repaired == 7
    warehouse.run()
    repaired = contents(warehouse)
    warehouse.run("--full-refresh")
    assert contents(warehouse) == repaired
    assert {model: len(rows) for model, rows in repaired.items()} == {
        model: len(rows) for model, rows in before.items()
    }
