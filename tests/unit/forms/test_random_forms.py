"""Random definitions, written as XForms, are read as they were."""

from __future__ import annotations

import json
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.merge import merge_definitions
from cht_sync.forms.tables import FormChoices, form_tables, given_names
from cht_sync.forms.xform import read_xform
from tests.oracle.random_forms import Taste, odd_fields, other_version, random_definition
from tests.oracle.xform_text import xform_text

XML = Taste(in_xml=True)


@given(st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=150)
def test_a_definition_is_read_from_its_xform(draw, apart):
    definition = random_definition(draw, "f", XML)
    assert read_xform("f", xform_text(definition, apart)) == definition


@pytest.mark.parametrize("seed", range(3))
def test_a_large_form_is_read(seed):
    definition = random_definition(Random(seed), "f", Taste(400, in_xml=True))
    assert read_xform("f", xform_text(definition)) == definition


@given(st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_versions_together_have_the_fields_of_each(draw):
    first = random_definition(draw)
    second = other_version(draw, first)
    merged = merge_definitions([first, second])
    paths = {each.path for each in merged.fields} | set(merged.repeats)
    assert paths == {each.path for one in (first, second) for each in one.fields} | {*first.repeats, *second.repeats}


@given(st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_a_report_is_json(draw):
    definition = random_definition(draw)
    assert "\\u0000" not in json.dumps(odd_fields(draw, definition)).replace("\\\\u0000", "")


@given(st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_names_fit_and_stay(draw):
    first = random_definition(draw)
    form = CatalogueForm("f", "report", first)
    tables = form_tables(form, FormChoices())
    for table in tables:
        names = [*table.standard, "rejected", *(column.name for column in table.columns)]
        assert len(set(names)) == len(names)
        assert all(len(name.encode()) <= 63 and name == name.lower() for name in (table.name, *names))
    assert len({table.name for table in tables}) == len(tables)
    given = given_names(tables)
    merged = merge_definitions([first, other_version(draw, first)])
    later = replace(form, definition=merged, columns=given)
    after = given_names(form_tables(later, FormChoices()))
    assert {path: name for path, name in after.items() if path in given} == {
        path: name for path, name in given.items() if path in after
    }
