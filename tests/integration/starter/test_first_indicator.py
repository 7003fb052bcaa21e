"""The first indicator of the documentation: what its page counts is what is counted from the documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from starter_warehouse import Warehouse, set_environment
from superset_warehouse import fill

from cht_sync.settings.settings import REPOSITORY
from include.demo.generator import generate
from tests.documented import Block, blocks

pytestmark = pytest.mark.integration
DOCUMENTS = 1500
PAGE = REPOSITORY / "docs" / "how-to-first-indicator.md"
QUERY, VIEW = (block for block in blocks(PAGE) if "with recursive" in block.text)


@pytest.fixture(scope="module")
def demo(shared_warehouse: Warehouse, dbt_server: Any) -> Iterator[Warehouse]:
    """The models of a generated deployment."""
    with pytest.MonkeyPatch.context() as patch:
        set_environment(patch, dbt_server)
        shared_warehouse.create()
        fill(shared_warehouse, DOCUMENTS)
        shared_warehouse.run()
        yield shared_warehouse


def expected() -> Counter[tuple[Any, str]]:
    """Registrations by month and district, by hand."""
    documents = {doc["_id"]: doc for _, doc in generate(DOCUMENTS)}
    found: Counter[tuple[Any, str]] = Counter()
    for doc in documents.values():
        if doc.get("type") == "data_record" and doc.get("form") in ("pregnancy", "P"):
            found[month(doc.get("reported_date")), district(documents, doc)] += 1
    return found


def month(reported: Any) -> Any:
    if not isinstance(reported, (int, str)) or not str(reported).isdigit() or len(str(reported)) < 12:
        return None
    return datetime.fromtimestamp(int(reported) / 1000, UTC).date().replace(day=1)


def district(documents: dict[str, Any], doc: dict[str, Any]) -> str:
    place = documents.get((doc.get("contact") or {}).get("_id"))
    while place and place["type"] != "district_hospital":
        place = documents.get((place.get("parent") or {}).get("_id"))
    return place["name"] if place else "(unknown)"


def counted(rows: list[tuple[Any, ...]]) -> Counter[tuple[Any, str]]:
    found: Counter[tuple[Any, str]] = Counter()
    for at, name, registrations, patients in rows:
        assert 0 <= patients <= registrations
        found[at, name] += registrations
    return found


@pytest.mark.parametrize("block", [QUERY, VIEW], ids=["query", "view"])
def test_it_counts_what_the_documents_hold(demo: Warehouse, block: Block) -> None:
    by_hand = expected()
    assert len({name for _, name in by_hand} - {"(unknown)"}) >= 1
    assert len({at for at, _ in by_hand}) > 12
    assert counted(demo.rows(block.text)) == by_hand


def test_the_view_is_the_query_that_was_explained() -> None:
    assert QUERY.text.rpartition("order by")[0].strip() in VIEW.text
