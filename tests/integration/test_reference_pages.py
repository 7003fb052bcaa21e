"""The pages of docs/ that are made from the code are as the code is; ``make reference`` makes them anew."""

from __future__ import annotations

import pytest

from cht_sync.settings.settings import REPOSITORY
from include.reference.dags_page import dags_page
from include.reference.settings_page import env_template, settings_page
from include.reference.tables_page import tables_page

pytestmark = pytest.mark.integration
STALE = "run make reference"


def page(name):
    return (REPOSITORY / "docs" / f"reference-{name}.md").read_text()


def test_settings():
    assert settings_page() == page("settings"), STALE
    assert env_template() == (REPOSITORY / ".env.template").read_text(), STALE


def test_dags(monkeypatch):
    assert dags_page(REPOSITORY / "dags") == page("dags"), STALE


def test_tables(store, database):
    import psycopg2

    with psycopg2.connect(database.dsn) as conn, conn.cursor() as cursor:
        assert tables_page(cursor, "v1") == page("tables"), STALE
