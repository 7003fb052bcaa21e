import json

import pytest

from cht_sync.dbt.project.manifest import storable_json


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        ({"a": float("nan"), "b": [float("-inf")]}, {"a": "NaN", "b": ["-Infinity"]}),
        ({"a\0": "b\0c"}, {"a\ufffd": "b\ufffdc"}),
        ("\ud800", "\ufffd"),
        ("\U0001f600 \\u0000 NaN", "\U0001f600 \\u0000 NaN"),
        ({"a": 1.5}, {"a": 1.5}),
    ],
)
def test_what_no_jsonb_holds_is_put_in_words(value, stored):
    assert json.loads(storable_json(json.dumps(value))) == stored


def test_what_needs_no_change_is_the_same_text():
    text = '{"a":  1}'
    assert storable_json(text) is text
