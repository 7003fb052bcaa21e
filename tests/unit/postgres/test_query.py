"""Names in braces become quoted identifiers; values stay parameters."""

import pytest
from psycopg2 import sql

from cht_sync.postgres.query import Names, one_row


class Cursor:
    def __init__(self, *rows):
        self.rows, self.executed = list(rows), []

    def execute(self, query, values):
        self.executed.append((query, values))

    def fetchone(self):
        return self.rows.pop(0) if self.rows else None


def test_names_are_identifiers_and_whatever_else_is_given_stands_as_it_is():
    names = Names("v1", "couch db", ready=sql.SQL("true"))
    composed = names.compose("select {column} from {schema}.{table} where {ready}", column=sql.Identifier("_id"))
    assert [part for part in composed.seq if isinstance(part, sql.Identifier)] == [
        sql.Identifier("_id"),
        sql.Identifier("v1"),
        sql.Identifier("couch db"),
    ]
    assert composed.seq[-1] == sql.SQL("true")
    assert (names.schema, names.table) == ("v1", "couch db")


def test_what_one_query_is_given_is_not_kept():
    names = Names("v1")
    names.compose("{column}", column=sql.Identifier("_id"))
    for missing in ("{column}", "{table}"):
        with pytest.raises(KeyError):
            names.compose(missing)


def test_values_are_parameters():
    cursor, names = Cursor(), Names("v1")
    names.execute(cursor, "select {schema}", {"source": "{schema}"})
    assert cursor.executed == [(names.compose("select {schema}"), {"source": "{schema}"})]


def test_a_row_that_is_missing_is_an_error():
    cursor = Cursor((1, 2))
    assert one_row(cursor) == (1, 2)
    with pytest.raises(LookupError):
        one_row(cursor)


def test_an_answer_is_read_with_its_query():
    cursor, names = Cursor((1, 2), (3, 4)), Names("v1")
    assert names.row(cursor, "select {schema}", {"a": 1}) == (1, 2)
    assert names.value(cursor, "select {schema}") == 3
    assert [values for _, values in cursor.executed] == [{"a": 1}, None]
    with pytest.raises(LookupError):
        names.value(cursor, "select {schema}")
