"""What may be told of an error of psycopg2."""

from __future__ import annotations

import re

import psycopg2

from cht_sync.redaction.forms import CUT, NAME, SIGNATURE, condition, known
from cht_sync.redaction.known import OF_A_NAME, VALUE_FREE

LONGEST = 500
# What raises for functions of people, which may say anything, also in the name of PostgreSQL.
# Source: ``exec_stmt_raise`` in ``src/pl/plpgsql/src/pl_exec.c``, ``plpy_elog.c``, ``plperl.c`` beside it.
_OF_PEOPLE = re.compile(r"(?:.*/)?(?:pl_exec|plpy|plperl|pltcl|plv8)")
_RAISES = {"exec_stmt_raise", "exec_stmt_assert"}
# What hands on the errors of another server, whoever raised them there.
_HAND_ON = {"pgfdw_report_error", "dblink_res_error"}
# In the languages that put it in this order, as English does.
_IN_FUNCTION = re.compile(rf"\S*PL/pgSQL\S*(?: [^\s\"()]+)? ({SIGNATURE}),? \S+ (\d{{1,9}}) ", re.ASCII)
_IN_COPY = re.compile(rf"COPY {NAME}, \S+ \d{{1,20}}, \S+ ({NAME}):", re.ASCII)
# Quotation marks of the languages that PostgreSQL speaks.
_QUOTES = r"\"'\u00ab\u00bb\u2018\u2019\u201c\u201d\u201e\u300a\u300b\u300c\u300d\u300e\u300f"
_QUOTED_NAME = re.compile(rf"[{_QUOTES}] ?({NAME}) ?[{_QUOTES}]", re.ASCII)


def of_error(error: psycopg2.Error, statement: str | None = None) -> str:
    """An error on one line: its SQLSTATE, where it is, and what PostgreSQL said, without values.

    As in ``23505 (relation "v1.person"): duplicate key value violates unique constraint "person_pkey"``.

    :param statement: its text, to name the line that PostgreSQL points at.
    """
    code = error.pgcode
    said = message_of(error)
    if not code:
        return f"{type(error).__name__}: {said}"
    where = ", ".join([] if _is_of_people(error) else _where(error, said, statement))
    return f"{code} ({where}): {said}" if where else f"{code}: {said}"


def message_of(error: psycopg2.Error) -> str:
    """What PostgreSQL said, on one line and without values: never its DETAIL, HINT and CONTEXT, which quote rows.

    Where it is not known what the text holds, it is what the SQLSTATE means.
    """
    code = error.pgcode
    if not code:
        return _of_driver(error)
    meaning = condition(code) or "an error"
    if _is_of_people(error):
        return f"{meaning} {CUT}"
    text = (error.diag.message_primary or "").strip()
    if said := known(text):
        return said
    if text and code.startswith(VALUE_FREE):
        return " ".join(text.split())[:LONGEST]
    named = [f' "{name}"' for name in _QUOTED_NAME.findall(text)] if code in OF_A_NAME else []
    return f"{meaning}{','.join(named)} {CUT}"


def _of_driver(error: psycopg2.Error) -> str:
    """What libpq or psycopg2 say themselves: of a connection, which knows no document, or of how they are used."""
    text = str(error).strip()
    if isinstance(error, (psycopg2.OperationalError, psycopg2.InterfaceError)):
        return " ".join(text.split())[:LONGEST] or "no message"
    return known(text) or CUT


def _is_of_people(error: psycopg2.Error) -> bool:
    source, function = error.diag.source_file or "", error.diag.source_function or ""
    maybe = function in _HAND_ON or bool(_OF_PEOPLE.match(source))
    return function in _RAISES or (maybe and known(error.diag.message_primary or "") is None)


def _where(error: psycopg2.Error, said: str, statement: str | None) -> list[str]:
    """Names that are not in the message, and where in a statement or a function it failed."""
    diag = error.diag
    relation = ".".join(filter(None, (diag.schema_name, diag.table_name))) if diag.table_name else ""
    context = (diag.context or "").split("\n", 1)[0]
    copied = _IN_COPY.match(context)
    column = diag.column_name or (copied[1] if copied else "")
    found = (
        ("relation", relation),
        ("column", column),
        ("type", diag.datatype_name),
        ("constraint", diag.constraint_name),
    )
    named = [
        f'{kind} "{name}"'
        for kind, name in found
        if name and re.fullmatch(NAME, name, re.ASCII) and f'"{name}"' not in said
    ]
    if function := _IN_FUNCTION.match(context):
        named += [f"function {function[1]}", f"line {function[2]}"]
    elif statement and "\n" in statement.strip() and (line := line_of(error, statement)):
        named.append(f"line {line}")
    return named


def line_of(error: psycopg2.Error, statement: str) -> int | None:
    """The line of a statement that PostgreSQL points at; None where it does not."""
    position = error.diag.statement_position or ""
    return statement[: int(position)].count("\n") + 1 if position.isdigit() else None


def dependents_of(error: psycopg2.errors.DependentObjectsStillExist) -> str:
    """What hangs on something that was to be dropped, on one line: names of the database.

    :param error: the refusal; the only one whose DETAIL holds no values.
    """
    return " ".join((error.diag.message_detail or "").split())
