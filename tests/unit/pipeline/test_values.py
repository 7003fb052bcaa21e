import pytest
from hypothesis import given
from hypothesis import strategies as st

from cht_sync.pipeline.values import without_values


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("Got 3 results, configured to fail if != 0", "Got 3 results, configured to fail if != 0"),
        (
            'Database Error in test x (tests/x.sql)\n  invalid input syntax for type integer: "Amina"\n  LINE 3: x',
            "Database Error in test x (tests/x.sql) invalid input syntax for type integer …",
        ),
        ('relation "v1.late" does not exist\nLINE 1: select', 'relation "v1.late" does not exist …'),
        ('column "a" of relation "b" does not exist', 'column "a" of relation "b" does not exist'),
        ('x "relation "Amina""', "x …"),
        ("duplicate key\n  DETAIL:  Key (uuid)=(Amina) already exists.", "duplicate key …"),
        ("", ""),
    ],
)
def test_what_is_left(message, left):
    assert without_values(message) == left


@given(st.text(alphabet="ab\"' \n:relation", min_size=1))
def test_no_value_gets_through_whatever_it_holds(value):
    assert without_values(f'invalid input syntax for type integer: "{value}"').startswith(
        "invalid input syntax for type integer"
    )
    assert len(without_values(f'invalid input syntax for type integer: "{value}"')) < 42
