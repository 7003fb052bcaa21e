"""Which forms get a table, by what is in the database."""

from argparse import Namespace

import pytest

from cht_sync.forms.command import list_forms
from cht_sync.forms.wanted import prepared_forms, wanted_forms
from cht_sync.settings.settings import Settings
from tests.integration.forms.conftest import store_definition, xform

pytestmark = pytest.mark.integration


@pytest.fixture
def two_forms(keeper, monkeypatch):
    monkeypatch.setattr("cht_sync.forms.wanted.keep_up_to_date", lambda *_: {})
    for code in ("visit", "delivery"):
        store_definition(keeper, code, xform("weight decimal"))


def test_a_table_that_is_none_of_ours_is_not_replaced(two_forms, database):
    database.rows("create table v1.form_visit (mine text)")
    package = prepared_forms(Settings()).package
    assert set(package.names) == {"delivery"}
    assert "form_visit is there already and is no table of a form" in package.refused["visit"]
    (visit,) = [line for line in list_forms(Namespace()) if line.startswith("visit")]
    assert "form_visit is there already" in visit

    # One that was made by a deployment since is ours.
    database.rows("create table v1.form_delivery (uuid text)")
    assert set(wanted_forms(Settings()).package.names) == {"delivery"}
    database.rows("drop table v1.form_visit")
    assert set(wanted_forms(Settings()).package.names) == {"delivery", "visit"}


def test_the_settings_name_forms(two_forms, monkeypatch):
    monkeypatch.setenv("CHT_FORMS", "deliv*")
    assert set(wanted_forms(Settings()).names) == {"delivery"}
    assert any("visit" in line and "none, by CHT_FORMS" in line for line in list_forms(Namespace()))
    monkeypatch.setenv("CHT_FORMS", "none")
    assert not wanted_forms(Settings()).content
    monkeypatch.delenv("CHT_FORMS")
    monkeypatch.setenv("DBT_LOCAL_PATH", "/srv/ours")
    assert not wanted_forms(Settings()).content, "a project of the team's own has none unless it asks"
    monkeypatch.setenv("CHT_FORMS", "all")
    assert set(wanted_forms(Settings()).names) == {"delivery", "visit"}


def test_two_forms_of_one_name_have_a_table_each(keeper, monkeypatch):
    monkeypatch.setattr("cht_sync.forms.wanted.keep_up_to_date", lambda *_: {})
    for code in ("anc-visit", "anc_visit", "field"):
        store_definition(keeper, code, xform("weight decimal"))
    names = prepared_forms(Settings()).names
    tables = [names[code][("*table",)] for code in sorted(names)]
    assert tables[0] == "form_anc_visit"
    assert len(set(tables)) == 3
    assert "form_field" not in tables, "the catalogue has that one"
