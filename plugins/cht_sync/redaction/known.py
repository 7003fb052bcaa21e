"""Messages of PostgreSQL, psycopg2 and dbt of which it is known where they hold a value of a document, if at all.

They are in ``messages_of_postgres.txt`` and ``messages_of_dbt.txt``, one on each line.
``<value>`` is never shown. Everything else in angle brackets is shown where it looks as it has to: ``<name>`` an
identifier, with its schema or without; ``<relation>`` one in quotes or not; ``<type>`` and ``<types>`` of the database;
``<n>`` a number that has nothing to do with rows; ``<command>`` words of SQL; ``<node>`` and ``<path>`` of a dbt
project. What stands behind a value is shown only where it is a type that PostgreSQL itself has: a value may hold what
looks like the rest of its message.

Whoever adds a line has looked up in PostgreSQL's source what it puts there.
Source: the calls of ``ereport`` in https://github.com/postgres/postgres/tree/REL_18_STABLE/src/backend, and
https://www.postgresql.org/docs/current/error-style-guide.html
"""

from __future__ import annotations

from pathlib import Path

# Errors whose first line names catalog objects, sessions, files of the server and limits, whatever the language:
# it is shown whole where PostgreSQL itself has said it, and not a function of people.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
VALUE_FREE = (
    "08", "25", "28", "40", "53", "57", "XX001", "XX002",
    "22012", "23000", "23001", "23502", "23503", "23505", "23514", "23P01", "2BP01", "42501", "44000", "55006", "55P03",
)  # fmt: skip

# Errors about a name in the text of a statement: where the message is not known, as in another language, what stands in
# quotes in it is shown where it looks like a name.
OF_A_NAME = (
    "3D000", "3F000", "42701", "42702", "42703", "42704", "42710", "42723", "42803", "42883", "42P01", "42P06", "42P07",
)  # fmt: skip

# Types that may be named behind a value.
TYPES = (
    "bigint", "bit", "boolean", "bytea", "character", "character varying", "cidr", "date", "double precision", "inet",
    "integer", "interval", "json", "jsonb", "money", "numeric", "oid", "real", "smallint", "text", "time",
    "time with time zone", "time without time zone", "timestamp", "timestamp with time zone",
    "timestamp without time zone", "timetz", "timestamptz", "tid", "uuid", "xid", "xml",
)  # fmt: skip

OF_POSTGRES = Path(__file__).with_name("messages_of_postgres.txt").read_text("utf-8")
OF_DBT = Path(__file__).with_name("messages_of_dbt.txt").read_text("utf-8")
