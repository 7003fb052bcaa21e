"""The page `docs/reference-odd-values.md` is true: of the starter in every run, of cht-pipeline where it is given."""

from pathlib import Path

import pytest
from odd_values import CASES, tables
from starter_documents import settings
from starter_warehouse import DBT, Warehouse
from test_starter_truth_tables import differences, save
from truth_tables import SETTINGS_TYPES
from upstream import Upstream, given

pytestmark = pytest.mark.integration

PAGE = DBT.parents[1] / "docs" / "reference-odd-values.md"


def test_the_page_shows_the_cases() -> None:
    """Its tables are those of the cases."""
    assert tables().strip() in PAGE.read_text()


def test_the_starter_does_what_the_page_says(warehouse: Warehouse) -> None:
    """Each document of the page in one run."""
    warehouse.save(settings(*SETTINGS_TYPES))
    named = save(warehouse, [case.document for case in CASES])
    warehouse.run()
    assert differences(warehouse, named) == []


@pytest.mark.skipif(
    not given(), reason="TEST_CHT_PIPELINE names no folder with cht-pipeline 2.0.0, without packages.yml"
)
def test_cht_pipeline_does_what_the_page_says(
    warehouse: Warehouse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each document of the page alone, since one that fails a model fails it for all."""
    monkeypatch.setenv("POSTGRES_SCHEMA", "v1")
    monkeypatch.setenv("POSTGRES_TABLE", "couchdb")
    project = given()
    assert project
    upstream = Upstream(warehouse, project, tmp_path)
    assert {case.shown: upstream.makes_of(case) for case in CASES} == {case.shown: case.upstream for case in CASES}
