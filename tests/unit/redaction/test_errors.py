"""What is told of an error of psycopg2, whatever PostgreSQL puts into it."""

from __future__ import annotations

import string
from types import SimpleNamespace

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg2 import errorcodes

from cht_sync.redaction import line_of, message_of, of_error
from cht_sync.redaction.known import VALUE_FREE
from tests.redaction.provoked import CANARIES

CODES = sorted(code for code in vars(errorcodes).values() if isinstance(code, str) and len(code) == 5)
QUOTING = [code for code in CODES if not code.startswith(VALUE_FREE)]
# No name of PostgreSQL: such a one is shown where names are.
VALUE = st.text(max_size=12).map(lambda text: f"{text} Amina K4n4ry {text}")
FIELDS = (
    "message_detail", "message_hint", "context", "schema_name", "table_name", "column_name", "datatype_name",
    "constraint_name", "internal_query",
)  # fmt: skip


def error_of(code, primary, kind=psycopg2.Error, source="int8.c", function="int84", **more):
    """An error as a server gives it."""
    fields = dict.fromkeys((*FIELDS, "statement_position")) | more
    diag = SimpleNamespace(
        sqlstate=code, message_primary=primary, source_file=source, source_function=function, **fields
    )
    return type(kind.__name__, (kind,), {"pgcode": code, "diag": diag})(primary)


def held(text):
    return [canary for canary in CANARIES if canary in text]


@given(st.sampled_from(QUOTING), VALUE, st.fixed_dictionaries(dict.fromkeys(FIELDS, VALUE)))
def test_no_value_gets_through_in_any_field_of_any_error(code, value, fields):
    error = error_of(code, value, **fields)
    for said in (of_error(error), message_of(error), of_error(error, f"select\n{value}")):
        assert held(said) == []
        assert "\n" not in said
    assert of_error(error).startswith(code)


@given(st.sampled_from(CODES), VALUE, st.fixed_dictionaries(dict.fromkeys(FIELDS, VALUE)))
@pytest.mark.parametrize(
    ("source", "function"),
    [("pl_exec.c", "exec_stmt_raise"), ("/build/src/pl/plpgsql/src/pl_exec.c", "exec_stmt_assert"), ("plpy_elog.c", "PLy_elog"),
     ("plperl.c", "plperl_util_elog"), ("connection.c", "pgfdw_report_error"), ("dblink.c", "dblink_res_error")],
)  # fmt: skip
def test_what_people_raise_is_cut_whatever_it_pretends_to_be(source, function, code, value, fields):
    error = error_of(code, value, source=source, function=function, **fields)
    assert held(of_error(error)) == []
    pretending = error_of(code, 'relation "Amina" does not exist', source=source, function=function, table_name="Amina")
    if function.startswith("exec_"):
        assert held(of_error(pretending)) == []


@given(
    st.sampled_from([code for code in CODES if code.startswith(VALUE_FREE)]), st.text(string.ascii_letters, min_size=1)
)
def test_in_any_language_what_holds_names_alone_is_whole(code, text):
    assert of_error(error_of(code, f"abgelehnt: {text}")) == f"{code}: abgelehnt: {text}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (error_of("23505", 'duplicate key value violates unique constraint "one"', schema_name="v1", table_name="person",
                  constraint_name="one", message_detail="Key (phone)=(254700) already exists."),
         '23505 (relation "v1.person"): duplicate key value violates unique constraint "one"'),
        (error_of("23505", "doppelter Wert »one«", schema_name="v1", table_name="person", constraint_name="one"),
         '23505 (relation "v1.person", constraint "one"): doppelter Wert »one«'),
        (error_of("22P02", "ungültige Eingabe »Amina«", context="PL/pgSQL-Funktion v1.to_phone(text) Zeile 3 bei RETURN"),
         "22P02 (function v1.to_phone(text), line 3): invalid text representation …"),
        (error_of("22P02", 'invalid input syntax for type integer: "Amina"', context='COPY person, line 1, column age: "Amina"'),
         '22P02 (column "age"): invalid input syntax for type integer: …'),
        (error_of("42P01", "Relation »v1.absent« existiert nicht"), '42P01: undefined table "v1.absent" …'),
        (error_of("42P01", "Relation »Amina K4n4ry« existiert nicht"), "42P01: undefined table …"),
        (error_of("ZZ999", "Amina"), "ZZ999: an error …"),
        (error_of("22P02", None), "22P02: invalid text representation …"),
        (psycopg2.OperationalError("server closed the connection\n\tunexpectedly"),
         "OperationalError: server closed the connection unexpectedly"),
        (psycopg2.DataError("Amina"), "DataError: …"),
        (psycopg2.ProgrammingError("can't adapt type 'dict'"), "ProgrammingError: can't adapt type 'dict'"),
    ],
)  # fmt: skip
def test_what_is_told(error, said):
    assert of_error(error) == said


def test_the_line_of_a_statement():
    error = error_of("42601", 'syntax error at or near "x"', statement_position="12")
    assert line_of(error, "select 1,\n\n x") == 3
    assert of_error(error, "select 1,\n\n x") == "42601 (line 3): syntax error at or near …"
    assert line_of(error_of("42601", "x"), "select") is None
