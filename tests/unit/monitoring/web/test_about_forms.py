from datetime import UTC, datetime

from cht_sync.monitoring.finding import Limits
from cht_sync.monitoring.health import find
from cht_sync.monitoring.state import Facts, FormError
from cht_sync.monitoring.web.judge import verdict
from cht_sync.monitoring.web.scene import Scene

SINCE = datetime(2026, 3, 1, tzinfo=UTC)
NO_XML = "it is no XML in line 7"


def remarks(*errors):
    facts, limits = Facts(known=True, form_errors=list(errors)), Limits()
    return verdict(find(facts, SINCE, limits), Scene(facts, SINCE, limits)).remarks


def error(code, text=NO_XML, source="h/medic"):
    return FormError(source=source, code=code, text=text, since=SINCE)


def test_a_form_that_cannot_be_read_is_named_with_its_reason():
    (remark,) = remarks(error("pregnancy"))
    assert (remark.state, remark.kind, remark.since) == ("warning", "form", SINCE)
    assert remark.text == f"Form pregnancy of h/medic: its XForm cannot be read: {NO_XML}."


def test_forms_with_one_reason_are_one_remark():
    found = remarks(
        *(error(code) for code in "abcde"), error("f", "it has no primary instance"), error("a", source="x")
    )
    assert [each.text for each in found][:1] == [
        f"Forms a, b, c and 2 more of h/medic: their XForms cannot be read: {NO_XML}."
    ]
    assert len(found) == 3


def test_the_forms_of_the_app_settings():
    (remark,) = remarks(error(""))
    assert remark.text == f"The SMS forms in the app settings of h/medic cannot be read: {NO_XML}."
