"""Forms of contacts as deployments and the command `forms` know them."""

from argparse import Namespace

import pytest

from cht_sync.forms.command import eject_form, list_forms, show_form
from cht_sync.forms.wanted import prepared_forms, wanted_forms
from cht_sync.settings.settings import Settings
from tests.integration.forms.conftest import store_definition, xform

pytestmark = pytest.mark.integration


def test_one_table_with_the_types_above_and_names_that_stay(save, keeper, monkeypatch, tmp_path):
    monkeypatch.setattr("cht_sync.forms.wanted.keep_up_to_date", lambda *_: {})
    types = [{"id": "house", "parents": ["village"]}, {"id": "village"}]
    save({"_id": "settings", "settings": {"contact_types": types}})
    store_definition(keeper, "contact:house:create", xform("inputs/x", "house/Rooms int", "house/name", "init/y"))
    store_definition(keeper, "contact:house:edit", xform("house/roof", "house/contact/name"))
    store_definition(keeper, "contact:tent:create", xform("place/x"))

    (table,) = prepared_forms(Settings()).names.values()
    assert set(table.values()) == {"contact_house", "rooms", "roof"}
    assert keeper.forms()["contact:house:create"].columns == table
    listed = "\n".join(list_forms(Namespace()))
    assert "contact_house" in listed
    assert "contact:house:edit" not in listed
    shown = "\n".join(show_form(Namespace(code="contact:house:edit")))
    assert "village_uuid" in shown
    assert "house/Rooms" in shown
    (tmp_path / "dbt_project.yml").touch()
    assert any("contact_house.sql" in line for line in eject_form(Namespace(code="contact:house:create", to=tmp_path)))

    # A place more above is another model.
    before = wanted_forms(Settings()).content
    save({"_id": "settings", "settings": {"contact_types": [*types[:1], {"id": "village", "parents": ["area"]}]}})
    assert wanted_forms(Settings()).content != before
    assert "area_uuid" in "\n".join(show_form(Namespace(code="contact:house:create")))
