"""Fits a text to the messages that are known, and cuts what is a value or not known."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from psycopg2 import errorcodes

from cht_sync.redaction.known import OF_DBT, OF_POSTGRES, TYPES

CUT = "…"
_MORE = re.compile(rf"{CUT}(?: {CUT})+")
_NAME = r"[A-Za-z_][\w$-]{0,62}"
NAME = rf"{_NAME}(?:\.{_NAME}){{0,3}}"
_NODE = r"[A-Za-z_][\w.$-]{0,250}"
PATH = r"[\w./-]{1,300}"
_TYPE = rf"(?:\"char\"|{NAME}(?: precision| varying)?(?:\(\d+(?:, ?-?\d+)?\))?(?: with(?:out)? time zone)?(?:\[\])*)"
_WORDS = r"[a-z]+(?:[ /-][a-z]+){0,9}"
_SHOWN = {
    "name": NAME,
    "relation": rf'"?{_NAME}"?(?:\."?{_NAME}"?){{0,2}}',
    "node": _NODE,
    "path": PATH,
    "type": _TYPE,
    "types": rf"(?:{_TYPE}(?:, {_TYPE})*)?",
    "n": r"\d{1,20}",
    "words": _WORDS,
    "command": r"[A-Z]+(?:[ /][A-Z]+)*",
    "operator": r"[+*/<>=~!@#%^&|`?-]{1,8}",
}
# In quotes, or what is left of it once it was cut.
_VALUES = {"value": r"[\s\S]*", "quoted": rf'"[\s\S]*"|{CUT}'}
_BUILTIN = re.compile(rf"(?:{'|'.join(map(re.escape, TYPES))})(?:\(\d+(?:, ?-?\d+)?\))?(?:\[\])*")
_PLACEHOLDER = re.compile("<(" + "|".join((*_VALUES, *_SHOWN)) + ")>")
SIGNATURE = rf"{NAME}\({_SHOWN['types']}\)"
# What says where something failed; it stands before the message, so that no value can come before it.
_WHERE = rf"(?:(?:relation|column|type|constraint) \"{NAME}\"|function {SIGNATURE}|line \d{{1,9}})"
_CODE = re.compile(rf"(?P<code>[0-9A-Z]{{5}})(?: \((?P<where>{_WHERE}(?:, {_WHERE})*)\))?: ", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Form:
    """One known message.

    :param pattern: fits it at the begin of a text.
    :param weight: number of literal characters: of several that fit, the one that says most counts.
    :param quotes: whether it puts a value into quotes, so that its end can be told in the midst of a text.
    """

    pattern: re.Pattern[str]
    parts: tuple[str, ...]
    weight: int
    quotes: bool

    def fill(self, match: re.Match[str]) -> str:
        """The message, without values."""
        said, after_value = [], False
        for number, part in enumerate(self.parts):
            if number % 2 == 0:
                said.append(part)
                continue
            found = match[(number + 1) // 2]
            if part in _VALUES:
                after_value = True
                said.append(CUT)
            else:
                trusted = not after_value or _BUILTIN.fullmatch(found)
                said.append(found if trusted else CUT)
        return "".join(said)


def _form(line: str) -> _Form:
    parts = _PLACEHOLDER.split(line.replace('"<value>"', "<quoted>"))
    pattern, after_value = "", False
    for number, part in enumerate(parts):
        if number % 2 == 0:
            pattern += re.escape(part)
        elif part in _VALUES:
            pattern, after_value = f"{pattern}({_VALUES[part]})", True
        else:
            pattern += f"({_SHOWN[part]}{f'|{CUT}' if after_value else ''})"
    # What comes behind begins a word of its own.
    end = r"(?![\w\"'])" if not line.endswith("<value>") else ""
    return _Form(re.compile(pattern + end, re.ASCII), tuple(parts), sum(map(len, parts[::2])), "quoted" in parts)


@cache
def _forms() -> tuple[_Form, ...]:
    lines = [line for line in f"{OF_POSTGRES}\n{OF_DBT}".splitlines() if line]
    return tuple(sorted(map(_form, lines), key=lambda form: -form.weight))


def known(text: str) -> str | None:
    """The known message that a text begins with, without values, and … for what follows; None where it is not known."""
    for form in _forms():
        if match := form.pattern.match(text):
            more = f" {CUT}" if text[match.end() :].strip(" \n.") else ""
            return _MORE.sub(CUT, form.fill(match) + more)
    return None


def without_known_values(text: str) -> str:
    """A text with … in place of each value that a known message in the midst of it quotes."""
    for form in _forms():
        if form.quotes:
            text = form.pattern.sub(form.fill, text)
    return text


def condition(code: str) -> str:
    """What a SQLSTATE means, in words; empty for one that PostgreSQL does not have."""
    try:
        return str(errorcodes.lookup(code)).lower().replace("_", " ").rstrip()
    except KeyError:
        return ""


def with_code(text: str) -> tuple[str, str, str] | None:
    """Takes a message apart that :func:`cht_sync.redaction.of_error` has made; None for any other.

    :param text: as in ``23505 (relation "v1.person"): duplicate key …``.
    :return: the SQLSTATE, where it failed in parentheses or nothing, and what was said.
    """
    match = _CODE.match(text)
    if not match or not condition(match["code"]):
        return None
    where = f" ({match['where']})" if match["where"] else ""
    return match["code"], where, text[match.end() :]
