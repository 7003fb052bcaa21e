"""Every kind of error of PostgreSQL that quotes a value, provoked, in each language that the server speaks."""

from __future__ import annotations

import traceback

import psycopg2
import pytest

from cht_sync.redaction import cleaned, of_error, of_ours, of_text
from tests.redaction.provoked import CANARIES, PROVOKED, SETUP, WHOLE

pytestmark = pytest.mark.integration
# The embedded server speaks English alone.
LANGUAGES = ["C", *(f"{name}.UTF-8" for name in (
    "de_DE", "es_ES", "fr_FR", "it_IT", "ja_JP", "ka_GE", "ko_KR", "ru_RU", "sv_SE", "uk_UA", "zh_CN",
))]  # fmt: skip
MODEL = "Database Error in model a (models/a.sql)"


@pytest.fixture(scope="module")
def visits(postgres_server):
    from tests.servers import mine

    name = mine("cht_provoked")
    postgres_server.create_database(name)
    conn = psycopg2.connect(postgres_server.dsn(name))
    with conn, conn.cursor() as cursor:
        cursor.execute("select from pg_roles where rolname = 'nobody_of_visits'")
        cursor.execute(
            SETUP.replace("create role nobody_of_visits;", "" if cursor.rowcount else "create role nobody_of_visits;")
        )
    yield conn
    conn.close()


@pytest.fixture(params=LANGUAGES)
def language(request, visits):
    with visits, visits.cursor() as cursor:
        try:
            cursor.execute("select set_config('lc_messages', %s, false)", (request.param,))
        except psycopg2.errors.InvalidParameterValue:
            pytest.skip("the server does not speak it")
    with visits, visits.cursor() as cursor, pytest.raises(psycopg2.Error) as one:
        cursor.execute("select 1/0")
    if request.param != "C" and "division by zero" in str(one.value):
        pytest.skip("the server has no translations")
    return request.param


def provoke(conn, one):
    """The error; caught by hand, because pytest keeps what it catches."""
    try:
        with conn, conn.cursor() as cursor:
            cursor.execute(one.sql)
    except psycopg2.Error as error:
        return error
    pytest.fail(f"no error: {one.sql}")


def held(text):
    return [canary for canary in CANARIES if canary in text]


def test_no_value_is_left_and_what_helps_is(visits, language):
    leaks, poor, quoting = [], [], 0
    for one in PROVOKED:
        error = provoke(visits, one)
        quoting += bool(held(str(error)))
        said = of_error(error, one.sql)
        raw = str(error)
        texts = [said, of_text(f"{MODEL}\n  {raw}"), of_text(raw), of_text(f"{MODEL}\n  {said}"), of_ours(said)]
        leaks += [(one.statement, text) for text in texts if held(text)]
        poor += [
            (one.statement, said)
            for part in (error.pgcode, *(one.keeps if language == "C" else ()))
            if part not in said
        ]
        assert cleaned(error)
        printed = "".join(traceback.format_exception(error)) + repr(error)
        # Of the frames, which show the code of this file, and no more.
        leaks += [(one.statement, line) for line in printed.splitlines() if held(line)]
    assert leaks == []
    assert poor == []
    assert quoting > len(PROVOKED) * 0.6, "they quote values, else nothing is proven here"


def test_what_has_no_value_stays_whole(visits, language):
    for one in WHOLE:
        error = provoke(visits, one)
        said = of_error(error)
        assert error.pgcode == one.sqlstate, one.statement
        if language == "C":
            assert said.endswith(f": {one.keeps[0]}")
            assert of_text(f"{MODEL}\n  {said}") == f"{MODEL} {said}", "also where dbt has it"


def test_relations_and_constraints_are_named_in_every_language(visits, language):
    for one in PROVOKED:
        if one.sqlstate[:2] == "23" and one.keeps:
            error = provoke(visits, one)
            said = of_error(error)
            for name in (error.diag.table_name, error.diag.constraint_name, error.diag.column_name):
                assert not name or name in said, said


def test_a_name_that_is_missing_is_told_in_every_language(visits, language):
    for one in WHOLE:
        # Where PostgreSQL puts it into quotes.
        if one.sqlstate in {"42P01", "42703", "3F000", "42P07"} and "w.absent" not in one.statement:
            assert {"absent", "wide", "id"} & set(
                of_error(provoke(visits, one)).replace('"', " ").replace(".", " ").split()
            )
