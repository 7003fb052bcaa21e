"""Random definitions, written as XForms, are read as they were."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cht_sync.forms.merge import merge_definitions
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
    import json

    definition = random_definition(draw)
    assert "\\u0000" not in json.dumps(odd_fields(draw, definition)).replace("\\\\u0000", "")
