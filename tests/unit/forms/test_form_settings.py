import pytest

from cht_sync.errors import SettingsError
from cht_sync.forms.cells import KINDS
from cht_sync.forms.tables import FormChoices
from cht_sync.settings.models import FORM_TYPES
from cht_sync.settings.settings import Settings


def test_types_of_the_setting_are_those_of_columns():
    assert set(FORM_TYPES) == set(KINDS)


@pytest.mark.parametrize(
    ("value", "globs"),
    [("", ["*"]), ("all", ["*"]), ("none", []), ("pregnancy, delivery*", ["pregnancy", "delivery*"])],
)
def test_which_forms(value, globs):
    assert Settings({"CHT_FORMS": value}).forms == globs


@pytest.mark.parametrize("name", ["DBT_LOCAL_PATH", "CHT_PIPELINE_BRANCH_URL", "DBT_PACKAGE_TARBALL_URL"])
def test_a_project_of_the_team_has_none_unless_it_asks(name):
    assert Settings({name: "https://example.org/p.git"}).forms == []
    assert Settings({name: "https://example.org/p.git", "CHT_FORMS": "all"}).forms == ["*"]


@pytest.mark.parametrize(
    "environ",
    [
        {"CHT_FORMS": "all pregnancy"},
        {"CHT_FORMS_TYPES": "pregnancy/lmp_date=datum"},
        {"CHT_FORMS_TYPES": "date"},
    ],
)
def test_a_wrong_value_is_named(environ):
    (name,) = environ
    with pytest.raises(SettingsError, match=name):
        _ = (Settings(environ).forms, Settings(environ).forms_types)


def test_globs_of_what_is_left_out():
    choices = FormChoices(("*/r_*", "household"))
    assert choices.leaves_out(("group", "r_note"))
    assert choices.leaves_out(("inputs", "contact", "name"))
    assert choices.leaves_out_repeat(("household", "members"))
    assert not choices.leaves_out(("inputs", "source"))
    assert choices.keys_left_out(("inputs",)) >= {"contact", "user", "meta"}
