"""What is left of what PostgreSQL and dbt say, whatever values it quotes and wherever."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cht_sync.redaction import of_ours, of_text
from cht_sync.redaction.forms import CUT, known
from cht_sync.redaction.known import OF_DBT, OF_POSTGRES
from tests.redaction.provoked import CANARIES

MODEL = "Database Error in model a (models/a.sql)"
# Of what a value may pretend to be: the end of its message, another message, marks of ours and of PostgreSQL.
ODD = st.sampled_from(
    [
        '"', "'", '""', "\\", "\n", "\r\n", "\t", "\0", "(", ")", "[", "{", "=", ":", ": ", CUT, f": {CUT}", "%s", "{}", "{{ x }}",
        "\x1b[31m", "\u202e", "é", "名前", "😀", "\ud800",
        '" is out of range for type ', '" is out of range for type integer', '" for "', "\nDETAIL:  Key (x)=(", "\nLINE 1: ",
        "\nCONTEXT:  ", 'relation "', '" does not exist', "22P02: ", '23505 (relation "v1.a"): ', "Database Error in model ",
        "invalid input syntax for type integer: ", "division by zero", "Got 1 result, configured to fail if != 0",
        "compiled code at ", " … ", "documents at fault: ",
    ]
)  # fmt: skip
PARTS = st.lists(st.one_of(ODD, st.text(max_size=8), st.sampled_from(["a" * 300, " " * 50])), max_size=8)
VALUES = st.tuples(PARTS, PARTS).map(lambda both: "".join(both[0]) + "Amina K4n4ry" + "".join(both[1]))
FORMS = [line for line in f"{OF_POSTGRES}{OF_DBT}".splitlines() if line]
NAMES = {
    "name": "v1.person", "node": "model.a.person", "path": "models/a.sql", "type": "character varying(3)", "types": "integer, text[]",
    "n": "3", "relation": '"d"."v1"."a"', "words": "a word", "command": "SELECT", "operator": "!=",
}  # fmt: skip


def filled(form, value):
    """The message that PostgreSQL makes of a form."""
    return re.sub("<([a-z]+)>", lambda match: value if match[1] == "value" else NAMES[match[1]], form)


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_known_and_shown_without_its_value(form):
    said = known(filled(form, "Amina K4n4ry"))
    assert said is not None
    literal = re.split("<[a-z]+>", form)[0].strip('" :')
    assert literal in said
    assert "Amina" not in said
    if "<value>" not in form:
        assert said == filled(form, "")


@given(
    st.sampled_from([form for form in FORMS if "<value>" in form]),
    VALUES,
    st.sampled_from(["", "\nLINE 1: ", "\n  DETAIL:  "]),
)
@example('value "<value>" is out of range for type <type>', 'Amina" is out of range for type Amina', "")
@example(
    'value "<value>" is out of range for type <type>', "Amina K4n4ry", '\nLINE 1: " is out of range for type Amina'
)
def test_no_value_gets_through_whatever_it_holds(form, value, added):
    text = filled(form, value) + (added + value if added else "")
    for said in (of_text(text), of_text(f"{MODEL}\n  {text}"), of_text(f"hook-1 failed, error:\n {text}")):
        assert not [canary for canary in CANARIES if canary in said], said
        assert "\n" not in said


@given(VALUES)
def test_what_is_not_known_is_cut(value):
    assert of_text(f"Zeile mit {value}") == CUT
    assert of_text(f"{MODEL}\n  Zeile mit {value}") == f"{MODEL} {CUT}"
    said = of_text(f"{MODEL}\n  22P02: ungültige Eingabesyntax für Typ integer: »{value}«")
    assert said == f"{MODEL} 22P02: invalid text representation {CUT}"


@given(VALUES)
def test_what_a_function_of_people_has_raised_is_cut_whatever_it_looks_like(value):
    for raised in (f'relation "{value}" does not exist', 'relation "Amina" does not exist', f"division by zero{value}"):
        text = f"{MODEL}\n  {raised}\n  CONTEXT:  PL/pgSQL function f(text) line 1 at RAISE"
        assert of_text(text) == f"{MODEL} {CUT}"


@given(st.one_of(VALUES, st.sampled_from(FORMS).map(lambda form: filled(form, "Amina K4n4ry"))), st.sampled_from(FORMS))
def test_twice_is_once(value, form):
    once = of_text(f"{MODEL}\n  {filled(form, value)}")
    assert of_text(once) == once
    assert of_ours(once) == once


@pytest.mark.parametrize(
    ("message", "left"),
    [
        ("Got 3 results, configured to fail if != 0", "Got 3 results, configured to fail if != 0"),
        ("INSERT 0 12", "INSERT 0 12"),
        ("PARTIAL SUCCESS (8/9)", "PARTIAL SUCCESS (8/9)"),
        (
            'PARTIAL SUCCESS (8/9), batch 2024-05-01T10: Database Error\n  invalid input syntax for type integer: "Amina"',
            "PARTIAL SUCCESS (8/9), batch 2024-05-01T10: Database Error invalid input syntax for type integer: …",
        ),
        (
            'Database Error in test x (tests/x.sql)\n  invalid input syntax for type integer: "Amina"\n  LINE 3: x',
            "Database Error in test x (tests/x.sql) invalid input syntax for type integer: …",
        ),
        ('relation "v1.late" does not exist\nLINE 1: select', 'relation "v1.late" does not exist …'),
        ('column "a" of relation "b" does not exist', 'column "a" of relation "b" does not exist'),
        ('x "relation "Amina""', "…"),
        ("duplicate key\n  DETAIL:  Key (uuid)=(Amina) already exists.", "…"),
        (
            f'{MODEL}\n  duplicate key value violates unique constraint "one"\n  DETAIL:  Key (uuid)=(Amina) already exists.',
            f'{MODEL} duplicate key value violates unique constraint "one" …',
        ),
        (
            f'{MODEL}\n  23505 (relation "v1.a"): duplicate key value violates unique constraint "one"\n  compiled code at x.sql',
            f'{MODEL} 23505 (relation "v1.a"): duplicate key value violates unique constraint "one" …',
        ),
        (f'{MODEL}\n  null value in column "b"\n  DETAIL:  Failing row contains (x, y).\n', f"{MODEL} …"),
        ("Compilation Error in model a (models/a.sql)\n  Amina has no phone\n\n  > in macro x", "Compilation Error in model a (models/a.sql) …"),
        ("\x1b[31mRuntime Error\x1b[0m\n  Amina", "Runtime Error …"),
        ("99999: Amina", "…"),
        (
            "Compilation Error in model a (models/a.sql)\n  This model has an enforced contract that failed.\n  Please ensure the name"
            " of Amina.\n\n"
            "  | column_name | definition_type | contract_type | mismatch_reason    |\n"
            "  | ----------- | --------------- | ------------- | ------------------ |\n"
            "  | age         | TEXT            | INTEGER       | data type mismatch |\n"
            "  | name        |                 | TEXT          | missing in definition |\n"
            "  | Amina K.    | TEXT            | TEXT          | data type mismatch |\n",
            "Compilation Error in model a (models/a.sql) This model has an enforced contract that failed. age (TEXT, in the"
            " contract INTEGER: data type mismatch); name (absent, in the contract TEXT: missing in definition)",
        ),
        (
            "Compilation Error in model a (models/a.yml)\n  Not able to get columns for unit test 'a' from relation"
            ' "d"."v1"."a" because the relation doesn\'t exist\n\n  > in macro x',
            "Compilation Error in model a (models/a.yml) Not able to get columns for unit test 'a' from relation"
            ' "d"."v1"."a" because the relation doesn\'t exist …',
        ),
        ("", ""),
    ],
)  # fmt: skip
def test_what_is_left(message, left):
    assert of_text(message) == left
    assert of_text(left) == left


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ('invalid input syntax for type integer: "Amina"', "invalid input syntax for type integer: …"),
        ('date/time field value out of range: "a ""b"" c" (documents at fault: d1)',
         "date/time field value out of range: … (documents at fault: d1)"),
        ('invalid input value for enum sex: "x: ""y"""', "invalid input value for enum sex: …"),
        ('column "name" does not exist', 'column "name" does not exist'),
        ('null value in column "uuid" of relation "contact" violates not-null constraint',
         'null value in column "uuid" of relation "contact" violates not-null constraint'),
        ('It said (22003: value "Amina" is out of range for type integer); nothing was stored.',
         "It said (22003: value … is out of range for type integer); nothing was stored."),
        ('[a: invalid value "Jane" for "YYYY"]', "[a: invalid value … for …]"),
        ("duplicate key DETAIL: Key (phone)=(254700) already exists.", "duplicate key …"),
        ("Key (phone)=(254700) already exists.", "Key (phone) …"),
        ("Give COUCHDB_DBS='medic' or connection 'cht_couchdb'.", "Give COUCHDB_DBS='medic' or connection 'cht_couchdb'."),
    ],
)  # fmt: skip
def test_a_sentence_of_ours_keeps_its_own_words(message, shown):
    assert of_ours(message) == shown


@pytest.mark.parametrize("size", [10_000, 5_000_000])
def test_a_value_of_any_size_takes_no_time(size):
    assert of_text(f'{MODEL}\n  invalid input syntax for type integer: "{"a" * size}"').endswith("type integer: …")
    assert of_ours('invalid value "' + '" for "' * size) is not None
