from __future__ import annotations

import pytest

from cht_sync.dbt.run.table_columns import Found, Kept, built_now, complaint

TYPES = {"text": 25, "character varying": 1043, "integer": 23, "bigint": 20, "jsonb": 3802, "public.mood": 99_999}
NUMBERS = {"TEXT": 25, "bigint": 20, "jsonb": 3802, "mood": 99_998}


def kept(on_schema_change="ignore", stays=False, **declared):
    return Kept("contact", ("v1", "contact"), declared, on_schema_change, stays)


def found(kind="r", oid=1, required=(), **columns):
    return Found(kind, oid, columns, {name: TYPES[one] for name, one in columns.items()}, set(required))


@pytest.mark.parametrize(
    ("one", "there", "built", "said"),
    [
        (kept(), found(a="text"), {"a": "text"}, ""),
        (kept(), None, {"a": "text"}, ""),
        (kept(), found(a="text"), None, ""),
        (kept(), found(b="text"), {"a": "text", "b": "text"}, "column a: expected text, found none"),
        (kept(), found(a="character varying"), {"a": "text"}, "column a: expected text, found character varying"),
        (kept(a="TEXT"), found(a="character varying"), None, ""),
        (kept(a="bigint"), found(a="integer"), None, "column a: expected bigint, found integer"),
        (kept(a="jsonb", b="TEXT"), found(a="jsonb"), None, "column b: expected TEXT, found none"),
        (kept(a="mood"), found(a="public.mood"), None, "column a: expected mood, found public.mood"),
        (kept(a="unknown"), found(a="public.mood"), None, ""),
        # What the project declares anew, and dbt has not built yet, is dbt's to make.
        (kept("append_new_columns", a="TEXT", b="TEXT"), found(a="text"), {"a": "text"}, ""),
        (kept(), found(a="text", b="text"), {"a": "text"}, "column b: expected none, found text"),
        (kept("sync_all_columns"), found(a="text", b="text"), {"a": "text"}, "column b: expected none, found text"),
        (kept("fail"), found(a="text", b="text"), {"a": "text"}, "column b: expected none, found text"),
        (kept("append_new_columns"), found(a="text", b="text"), {"a": "text"}, ""),
        (kept("append_new_columns"), found(a="text", b="text", required=["b"]), {"a": "text"}, "column b: expected none"),
        (kept(), found("p", a="text"), {"a": "text"}, ""),
        (kept(), found("v", a="text"), {"a": "text"}, "expected a table, found a view"),
        (kept(), found("m", a="text"), None, "expected a table, found a materialized view"),
        (kept(), found("f", a="text"), None, "expected a table, found a foreign table"),
    ],
)  # fmt: skip
def test_what_is_said_of_a_table(one, there, built, said):
    text = complaint(one, there, built, NUMBERS)
    assert said in text
    assert bool(said) == bool(text)
    assert ('full_refresh: ["contact"]' in text) == bool(said)


def test_a_model_that_stays_as_it_is_says_what_has_to_go_first():
    text = complaint(kept(stays=True), found(), {"a": "text"}, {})
    assert "(once it does not say `full_refresh: false` any more)" in text


@pytest.mark.parametrize(
    ("before", "after", "known", "now"),
    [
        (None, found(a="text"), None, {"a": "text"}),
        (found(a="text"), found(a="text"), None, {"a": "text"}),
        # What people added before the run is not dbt's; what came, went or changed in it is.
        (found(a="text", b="text"), found(a="text", b="text", c="text"), {"a": "text"}, {"a": "text", "c": "text"}),
        (found(a="text"), found(a="bigint"), {"a": "text"}, {"a": "bigint"}),
        (found(a="text", b="text"), found(a="text"), {"a": "text", "b": "text"}, {"a": "text"}),
        (found(oid=1, a="text", b="text"), found(oid=2, a="text", b="text"), {"a": "text"}, {"a": "text", "b": "text"}),
    ],
)
def test_what_dbt_has_built(before, after, known, now):
    assert built_now(before, after, known) == now
