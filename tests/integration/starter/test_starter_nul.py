"""What is stored without U+0000 is noted, and the models show it."""

import pytest
from starter_documents import person
from starter_warehouse import Warehouse

from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of

pytestmark = pytest.mark.integration
SELECT = ("--select", "document_metadata", "contact", "contact_type", "document_rejects")
REJECTS = "select uuid, field, value from document_rejects order by uuid"


def test_a_document_stored_without_u_0000_is_listed(warehouse: Warehouse) -> None:
    """As long as the row is that revision: a later one, or a deletion, takes it off the list."""
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()

        def write(number: int, *documents: dict[str, object]) -> None:
            since = str(number - 1) if number > 1 else None
            store.save("couch.org/medic", page_of(*documents, last_seq=str(number)), since)
            warehouse.run(*SELECT)

        nul = [person(uuid, _rev="1-a", name="A\0da") for uuid in ("edited", "deleted", "kept")]
        write(1, *nul, person("key", _rev="1-a", **{"no\0te": 1}), person("typed", _rev="1-a", name=r"A\u0000da"))
        assert warehouse.column("select name from contact where uuid <> 'key'") == {"Ada", r"A\u0000da"}
        listed = [(uuid, "document", "1-a") for uuid in ("deleted", "edited", "kept", "key")]
        assert warehouse.rows(REJECTS) == listed

        write(2, person("edited", _rev="2-b", name="Ada"), {"_id": "deleted", "_rev": "2-b", "_deleted": True})
        assert warehouse.rows(REJECTS) == listed[2:]
        warehouse.run("--full-refresh", *SELECT)
        assert warehouse.rows(REJECTS) == listed[2:]
        assert warehouse.value("select count(*) from couchdb_nul") == 4
