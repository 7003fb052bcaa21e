import pytest

from cht_sync.errors import SettingsError
from cht_sync.settings.setting import Choice, Flag, Number, Schedule, SchemaName, Secret, Section, Setting, Text, Words
from cht_sync.settings.settings import NOT_FOR_ALL, REPOSITORY, Settings
from include.reference.settings_page import SECTIONS, env_template


class Kitchen(Section):
    title = "Kitchen"
    ovens = Number("OVENS", 2, about="Ovens that burn at once.", low=1, high=4, unit=10)
    dish = Choice("DISH", "soup", ("soup", "rice", "tea"), about="What is cooked.")
    name = Text("NAME", "Kisumu", template="")
    key = Secret("KEY", about="What opens it.", about_file="Or a file.")
    lit = Flag("LIT")
    cooks = Words("COOKS")
    when = Schedule("WHEN", "@daily")


def test_one_declaration_gives_the_default_the_value_and_what_is_said_of_it():
    assert (Kitchen({}).ovens, Kitchen({"OVENS": "4"}).ovens) == (20, 40)
    assert list(Kitchen.ovens.lines()) == [("OVENS", "2", "Ovens that burn at once.")]
    assert list(Kitchen.name.lines()) == [("NAME", "", "")]
    assert list(Kitchen.key.lines()) == [("KEY", "", "What opens it."), ("KEY_FILE", "", "Or a file.")]
    assert (Kitchen({}).lit, Kitchen({"LIT": "False"}).lit, Kitchen({"LIT": "true"}).lit) == (None, False, True)
    assert (Kitchen({"DISH": "RICE"}).dish, Kitchen({"COOKS": "a, b a"}).cooks) == ("rice", ["a", "b"])


def test_a_value_that_cannot_be_used_stops_only_who_asks_for_it():
    kitchen = Kitchen({"OVENS": "many", "DISH": "stone"})
    assert (kitchen.name, kitchen.when) == ("Kisumu", "@daily")
    with pytest.raises(SettingsError, match="OVENS='many' cannot be used: set it to a whole number from 1 to 4"):
        _ = kitchen.ovens
    with pytest.raises(SettingsError, match="DISH='stone' is unknown: use 'soup', 'rice' or 'tea'") as caught:
        _ = kitchen.dish
    assert caught.value.setting == "DISH"


def test_a_setting_is_declared_once_and_each_section_is_in_the_template():
    names = [line.name for section in SECTIONS for each in vars(section).values() if isinstance(each, Setting)
             for line in each.lines()]  # fmt: skip
    assert len(names) == len(set(names))
    assert set(Settings.__bases__) <= set(SECTIONS)
    assert set(dir(Settings)) >= NOT_FOR_ALL


def test_the_template_is_that_of_the_declarations():
    assert (REPOSITORY / ".env.template").read_text() == env_template(), "run make reference"


def test_every_default_and_every_line_of_the_template_can_be_used():
    for section in SECTIONS:
        for each in vars(section).values():
            if isinstance(each, Setting):
                each.read(Section({}))
                lines = {line.name: line.value for line in each.lines()}
                each.read(Section(lines))


def test_a_schema_of_postgresql_itself_is_refused():
    with pytest.raises(SettingsError, match="S='pg_x' cannot be used"):
        SchemaName("S", "").convert("pg_x")
