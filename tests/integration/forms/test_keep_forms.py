"""The catalogue is kept in bounds, and nothing that it meets stops a run."""

import pytest

from cht_sync.forms.keep import keep_up_to_date
from cht_sync.settings.settings import Settings
from tests.integration.forms.conftest import xform

pytestmark = pytest.mark.integration
ALL, NONE = {"definitions": True, "reports": True}, {"definitions": False, "reports": False}


def test_definitions_and_reports_in_one_go(new_couch, keeper):
    couch = new_couch()
    couch.define("visit", xform("a int", "b date"))
    couch.write(
        {"_id": "r", "type": "data_record", "form": "visit", "fields": {"a": "1", "b": "yesterday", "c": {"d": "x"}}}
    )
    couch.copy()
    assert keep_up_to_date(Settings()) == ALL
    form = keeper.forms()["visit"]
    assert (form.reports, form.undeclared) == (1, {("c", "d")})
    assert form.failing[("b",)]["date"] == 1
    assert "bigint" not in form.failing.get(("a",), {})
    assert keep_up_to_date(Settings()) == ALL
    assert keeper.forms()["visit"].reports == 1


def test_nothing_was_copied_yet(new_couch, caplog):
    new_couch()
    assert keep_up_to_date(Settings()) == NONE
    assert "stay as they are for now" in caplog.text


def test_servers_that_do_not_answer(new_couch, keeper, monkeypatch):
    couch = new_couch()
    couch.define("visit", xform("a int"))
    couch.write({"_id": "r", "type": "data_record", "form": "visit", "fields": {"a": "1"}})
    couch.copy()
    with monkeypatch.context() as patch:
        patch.setenv("COUCHDB_PORT", "9")
        assert keep_up_to_date(Settings()) == {"definitions": False, "reports": True}
        patch.setenv("POSTGRES_PORT", "9")
        assert keep_up_to_date(Settings()) == NONE
    assert keep_up_to_date(Settings()) == ALL
    # What was counted before there was a definition is of its field now.
    assert keeper.forms()["visit"].filled == {("a",): 1}
    assert keeper.forms()["visit"].undeclared == set()


def test_a_definition_that_breaks_the_reader_is_a_finding(new_couch, keeper, monkeypatch):
    couch = new_couch()
    couch.define("visit", xform("a int"))
    couch.copy()
    monkeypatch.setattr("cht_sync.forms.read_definitions.read_xform", lambda *_: {}["secret of the form"])
    assert keep_up_to_date(Settings()) == ALL
    assert keeper.forms()["visit"].error == f"{couch.source}: it is not built as an XForm is (KeyError)"
