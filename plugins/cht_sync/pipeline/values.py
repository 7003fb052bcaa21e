"""Takes what may come from a document out of messages of Postgres."""

from __future__ import annotations

import re

# What Postgres quotes is a name only after one of these words; everything else may be a value of a row.
# Source: https://www.postgresql.org/docs/current/error-style-guide.html
NAMED = "relation|column|table|view|function|procedure|operator|schema|type|index|constraint|role|database|language"
QUOTED = re.compile(rf"""(?P<named>\b(?:{NAMED})\s+)?(?P<text>"[^"]*"|'[^']*')""")
# DETAIL and CONTEXT quote whole rows, LINE the query, which may hold values.
MORE = re.compile(r"\b(?:DETAIL|CONTEXT|HINT|LINE \d+):")

ADDED = re.compile(r"^\s*(?:DETAIL|CONTEXT|HINT|LINE \d+|QUERY|WHERE):", re.MULTILINE)


def without_details(message: str) -> str:
    """dbt's message on one line, without what Postgres adds to it, which quotes rows: they are documents.

    :param message: the message.
    """
    return " ".join(ADDED.split(message, maxsplit=1)[0].split())


def without_values(message: str) -> str:
    """A message of dbt or Postgres on one line, up to the first thing that may be a value.

    :param message: the message.
    """
    text = " ".join(message.split())
    ends = [match.start() for match in QUOTED.finditer(text) if not match["named"]]
    ends += [match.start() for match in MORE.finditer(text)]
    return f"{text[: min(ends)].rstrip(' :')} …" if ends else text
