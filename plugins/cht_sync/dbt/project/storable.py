"""What dbt writes as JSON, in the form that PostgreSQL's jsonb and Airflow's database take."""

from __future__ import annotations

import json
import re
from typing import Any

# JSON proper knows neither; both come from YAML, as `.nan` and "\0".
_ODD = re.compile(r"\bNaN\b|\bInfinity\b|\\u0000|\\u[dD][89a-fA-F]")
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """The same JSON, with a text in place of a number that is none, and U+FFFD for characters that no jsonb holds.

    Source: https://www.postgresql.org/docs/current/datatype-json.html
    """
    if not _ODD.search(text):
        return text
    return json.dumps(_clean(json.loads(text, parse_constant=str)))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(one) for name, one in value.items()}
    return value
