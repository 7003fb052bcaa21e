"""The table that a foreign key of a dbt contract points to, as the text of the contract has it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cht_sync.dbt.subprocess.sql_text import NAME, plain, quoted

_RELATION = rf"(?:(?:{NAME}\s*\.\s*)?(?P<schema>{NAME})\s*\.\s*)?(?P<table>{NAME})"
_TARGET = re.compile(rf"\s*(?:references\s+)?{_RELATION}(?P<rest>\s*(?:\((?P<columns>[^)]*)\)).*|\s.*|)", re.I | re.S)
_INSIDE = re.compile(rf"\breferences\s+{_RELATION}", re.I)
_REF = re.compile(r"\s*ref\((?P<arguments>[^)]*)\)\s*")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a foreign key points; without a schema where the text names none, without columns for the primary key."""

    schema: str
    table: str
    columns: tuple[str, ...]
    cascades: bool


def target_of(expression: str) -> Target | None:
    """Reads ``schema.table (column) on delete cascade``; None where it is something else.

    Source: https://docs.getdbt.com/reference/resource-properties/constraints
    """
    match = _TARGET.fullmatch(expression)
    if not match:
        return None
    columns = tuple(plain(name) for name in (match["columns"] or "").split(",") if name.strip())
    cascades = bool(re.search(r"\bon\s+delete\s+cascade\b", match["rest"] or "", re.I))
    return Target(plain(match["schema"] or ""), plain(match["table"]), columns, cascades)


def model_of(expression: str) -> str | None:
    """The name of the model in ``ref('model')`` or ``ref('package', 'model')``; else None."""
    match = _REF.fullmatch(expression)
    names = re.findall(r"""['"]([^'"]+)['"]""", match["arguments"]) if match else []
    return names[-1] if names else None


def pointed_to_staging(expression: str, moved: Mapping[tuple[str, str], str], whole: bool) -> str:
    """The text of a constraint, pointing at the staging table where it names a table that is built there.

    :param moved: the staging schema for schema and name of each table that is built there.
    :param whole: whether the text starts with the table, as that of a foreign key does, or it follows ``references``.
    """
    match = _TARGET.fullmatch(expression) if whole else _INSIDE.search(expression)
    staging = moved.get((plain(match["schema"] or ""), plain(match["table"]))) if match else None
    if not match or staging is None:
        return expression
    start = match.start("schema")
    # A database before the schema, as `"db"."schema"."table"`, is the same one and may go.
    before = expression[:start]
    database = re.search(rf"{NAME}\s*\.\s*\Z", before)
    before = before[: database.start()] if database else before
    return before + f"{quoted(staging)}.{quoted(plain(match['table']))}" + expression[match.end("table") :]
