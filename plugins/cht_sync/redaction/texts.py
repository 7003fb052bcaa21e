"""What may be told of a text that quotes PostgreSQL or dbt, or comes from another program that may show a secret."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable

from cht_sync.redaction.forms import CUT, PATH, condition, known, with_code, without_known_values

# Of a longer text the middle is left out: it can only be a value, and would take long to look through.
LONGEST = 8_000
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
# Source: ``node_to_string`` and ``type`` in ``dbt_common/exceptions/base.py``, ``dbt/exceptions.py``
_HEADER = re.compile(
    r"\s*(?P<header>(?:Database|Compilation|Runtime|Internal|Parsing|Dependency|Contract|Configuration|Selector|Unit"
    rf" test) Error(?: in [a-z_]+(?: [a-z]+)? [A-Za-z_][\w.$-]{{0,250}} \({PATH}\))?)(?:\s+|$)",
    re.ASCII,
)
# Source: ``safe_run_hooks`` in ``dbt/task/run.py``, ``MainEncounteredError`` in ``dbt/events/types.py``
# and what ``cht_sync.dbt.subprocess.batches`` adds to how many batches of a model have failed.
_BEFORE = re.compile(
    r"\s*(?P<header>[A-Za-z_][\w.-]{0,250} failed, error:|Encountered an error:"
    r"|(?:ERROR|PARTIAL SUCCESS \(\d{1,9}/\d{1,9}\)), batch [\dT-]{4,13}:)\s+",
    re.ASCII,
)
# The rows of the table that dbt adds: column, type in the model, type in the contract, reason.
_CONTRACT = "This model has an enforced contract that failed."
_CELL = r" *([A-Za-z_][\w (),\[\]]{0,62})? *"
_COLUMN = re.compile(rf"^ *\|{'[|]'.join([_CELL] * 4)}\| *$", re.MULTILINE | re.ASCII)
_TOLD_COLUMN = r"[A-Za-z_]\w{0,62} \([\w (),\[\]]{1,62}, in the contract [\w (),\[\]]{1,62}: [a-z ]{1,62}\)"
_TOLD = re.compile(rf"{_TOLD_COLUMN}(?:; {_TOLD_COLUMN})*", re.ASCII)
# In English and in whatever language PostgreSQL speaks: what a function of people has raised may look like anything.
_RAISED = re.compile(r"PL/pgSQL[^\n]* (?:RAISE|ASSERT)\b")
# What PostgreSQL adds to its messages.
_ADDED = re.compile(
    r"\s*(?:\b(?:DETAIL|CONTEXT|HINT|QUERY|WHERE|LINE \d+):|\bFailing row contains \(|=\().*", re.DOTALL
)
# A variable that dbt misses is named, not quoted.
_QUOTED = re.compile(r"""(?<!Env var required but not provided): (?:"[\s\S]*"|'[\s\S]*'(?!\w))""")


def of_text(text: str) -> str:
    """A message of dbt on one line, without what may come from a document; what is not known is cut.

    :param text: the message, with what PostgreSQL has added to it.
    """
    plain = _short(text)
    headers, body = [], plain
    for begins in (_BEFORE, _HEADER):
        if match := begins.match(body):
            headers.append(match["header"])
            body = body[match.end() :]
    return " ".join(filter(None, (*headers, _said(body.strip(), bool(_RAISED.search(plain))))))


def _said(body: str, raised: bool) -> str:
    if not body:
        return ""
    if coded := with_code(body):
        code, where, rest = coded
        return f"{code}{where}: {(None if raised else known(rest)) or f'{condition(code)} {CUT}'}"
    if body.startswith(_CONTRACT):
        return f"{_CONTRACT} {_columns(body)}".strip()
    return (None if raised else known(body)) or CUT


def _columns(body: str) -> str:
    """Which columns of a model do not fit its contract, also of what was told before."""
    if told := _TOLD.fullmatch(body[len(_CONTRACT) :].strip()):
        return told[0]
    return "; ".join(
        f"{name} ({made or 'absent'}, in the contract {wanted or 'absent'}: {why})"
        for name, made, wanted, why in (map(str.strip, row) for row in _COLUMN.findall(body)[1:])
    )


def of_ours(text: str) -> str:
    """A sentence of ours on one line, without the values that messages in it may quote.

    What this version writes holds none; what another has stored before, or a caller has put together, may.
    """
    plain = without_known_values(_short(text))
    plain = _ADDED.sub(f" {CUT}", plain)
    return " ".join(_QUOTED.sub(f": {CUT}", plain).split())


def without_secrets(text: str, secrets: Iterable[str] = ()) -> str:
    """The text with each secret, also in base64 with a leading user name, and each ``user:password@`` as ``***``."""
    for secret in secrets:
        for form in (secret, base64.b64encode(f"{secret}:".encode()).decode()):
            text = text.replace(form, "***")
    return re.sub(r"(://)[^/\s@]+@", r"\1***@", text)


def _short(text: str) -> str:
    plain = _COLOURS.sub("", text)
    return plain if len(plain) <= LONGEST else plain[: LONGEST // 2] + plain[-LONGEST // 2 :]
