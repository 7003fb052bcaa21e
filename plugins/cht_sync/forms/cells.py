"""SQL that makes of what a report says the cell of a column: a value or null, and never an error.

PostgreSQL evaluates only the chosen
branch of a ``case``, so the check always stands before the cast.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# What people and apps put around and between words, visible or not; the same as the starter's macro ``blank``.
BLANKS = (
    " \t\n\r\f\v\u0085\u00a0\u1680" + "".join(map(chr, range(0x2000, 0x200C))) + "\u2028\u2029\u202f\u205f\u3000\ufeff"
)
_PLAIN = re.compile(r"[A-Za-z0-9 _.,:()/<>=+-]*")


def literal(text: str) -> str:
    """A text as SQL that holds no quote, backslash, brace or character beyond ASCII of it: whoever reads it next, Jinja
    too, finds nothing to act upon. It wants ``standard_conforming_strings``, which is PostgreSQL's default.
    """
    if _PLAIN.fullmatch(text) and "--" not in text and "/*" not in text:
        return f"'{text}'"
    return "U&'" + "".join(one if one.isalnum() and one.isascii() else f"\\+{ord(one):06x}" for one in text) + "'"


def text_of(json: str, blanks: str, trimmed: bool) -> str:
    """A scalar of a document as text; null for a list, an object, null, and what is blank.

    :param json: an expression of type jsonb that is cheap, such as a column.
    :param blanks: an expression that holds :data:`BLANKS`.
    :param trimmed: without the blanks around it, as every check and cast wants it.
    """
    text = f"{json} #>> '{{}}'"
    scalar = f"jsonb_typeof({json}) in ('string', 'number', 'boolean')"
    if trimmed:
        return f"case when {scalar} then nullif(btrim({text}, {blanks}), '') end"
    return f"case when {scalar} and btrim({text}, {blanks}) <> '' then {text} end"


def text_at(text: str, json: str, blanks: str, trimmed: bool) -> str:
    """The same of a value whose text is at hand: where that begins as most do, nothing else is looked at.

    :param text: what ``->>`` gives, which is JSON for a list or an object.
    :param json: the value itself, which may take time to find.
    """
    ends = f" and ascii(right({text}, 1)) between 33 and 126" if trimmed else ""
    return (
        f"case when ascii({text}) between 33 and 126 and ascii({text}) not in (91, 123){ends} then {text}"
        f" when {text} <> '' then {text_of(json, blanks, trimmed)} end"
    )


def says_something(json: str, blanks: str) -> str:
    """Whether a value of a document is more than null, a blank text, or an empty list or object; null for none."""
    return (
        f"({json} not in ('null', '[]', '{{}}')"
        f" and (jsonb_typeof({json}) <> 'string' or btrim({json} #>> '{{}}', {blanks}) <> ''))"
    )


@dataclass(frozen=True)
class Kind:
    """How a column of some type takes a text.

    :param type: of the column in PostgreSQL.
    :param reason: what is said of a text that does not cast.
    :param check: SQL of whether a text casts, which stands in it as ``{t}``; empty: each does.
    :param cast: SQL of the value of a text that does.
    """

    type: str
    reason: str = ""
    check: str = ""
    cast: str = "{t}"


_DIGITS = "[0-9]{1,18}([.]0*)?"
_ZONE = "(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?"
_DAY = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
_NUMBER = "[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,2})?"
MOST_OF_NUMBER = 300
# JavaScript writes up to 17 digits that count, and zeros before them.
_DEGREES = "[+-]?[0-9]{1,3}([.][0-9]{0,20})?"
_METRES = "[+-]?[0-9]{1,7}([.][0-9]{0,20})?"
_SPACES = "[ \\t\\n\\r\\f\\v]+"
_TRUE, _FALSE = "'true', 't', 'yes', 'y', 'on', '1'", "'false', 'f', 'no', 'n', 'off', '0'"
_INTEGER = "split_part({t}, '.', 1)::bigint"
# Behind a pattern: not every month has a 31st, and no year is 0.
_DAY_EXISTS = (
    "left({t}, 4) <> '0000' and substr({t}, 9, 2)::int <= extract(day from"
    " make_date(left({t}, 4)::int, substr({t}, 6, 2)::int, 1) + interval '1 month - 1 day')"
)
GEOPOINT = ("latitude", "longitude", "altitude", "accuracy")


def _matches(pattern: str, also: str = "") -> str:
    found = "{t} ~ '^" + pattern + "$'"
    return f"case when {found} then {also} else false end" if also else found


def _word(number: int) -> str:
    return f"(regexp_split_to_array({{t}}, '{_SPACES}'))[{number}]::double precision"


KINDS: dict[str, Kind] = {
    "text": Kind("text"),
    "bigint": Kind("bigint", "not a whole number", _matches(f"[+-]?{_DIGITS}"), _INTEGER),
    # Counted apart: a pattern that counts up to some hundred digits takes twenty times as long.
    "numeric": Kind(
        "numeric",
        "not a number",
        f"case when octet_length({{t}}) <= {MOST_OF_NUMBER} then {_matches(_NUMBER)} else false end",
        "{t}::numeric",
    ),
    "date": Kind("date", "not a date", _matches(_DAY, _DAY_EXISTS), "{t}::date"),
    "timestamptz": Kind(
        "timestamp with time zone",
        "not a time with its zone",
        _matches(f"{_DAY}[T ]{_CLOCK} ?{_ZONE}", _DAY_EXISTS),
        "{t}::timestamptz",
    ),
    # What a person read from the clock; the offset behind it is that of the device.
    "time": Kind(
        "time without time zone", "not a time", _matches(f"{_CLOCK} ?{_ZONE}?"), "substring({t} from '^[0-9:.]+')::time"
    ),
    "boolean": Kind(
        "boolean", "neither true nor false", f"lower({{t}}) in ({_TRUE}, {_FALSE})", f"lower({{t}}) in ({_TRUE})"
    ),
    # From 1973 to the year 9999, as the starter takes `reported_date`.
    "epoch": Kind(
        "timestamp with time zone",
        "not a date in milliseconds",
        _matches(f"[+-]?{_DIGITS}", f"{_INTEGER} between 100000000000 and 253402300799999"),
        f"to_timestamp(({_INTEGER} / 1000)::double precision)",
    ),
    # Of a text; a list is taken as it is where a model reads it.
    "text[]": Kind(
        "text[]",
        "not a list of choices",
        "",
        # The second is much faster, and right for what apps write.
        f"case when {{t}} ~ '[\\t\\n\\r\\f\\v]|  ' then regexp_split_to_array({{t}}, '{_SPACES}')"
        " else string_to_array({t}, ' ') end",
    ),
    "geopoint": Kind(
        "double precision",
        "not a position",
        _matches(
            f"{_DEGREES}{_SPACES}{_DEGREES}({_SPACES}{_METRES}){{0,2}}",
            f"abs({_word(1)}) <= 90 and abs({_word(2)}) <= 180",
        ),
    ),
}
_DECLARED = {
    "int": "bigint",
    "integer": "bigint",
    "decimal": "numeric",
    "range": "numeric",
    "date": "date",
    "dateTime": "timestamptz",
    "time": "time",
    "boolean": "boolean",
    "select": "text[]",
    "rank": "text[]",
    "geopoint": "geopoint",
    "epoch": "epoch",
}


def kind_of(declared: str) -> str:
    """The kind of column that fits a type as a form declares it; ``text`` for what is not known."""
    return _DECLARED.get(declared, "text")


def casts(kind: str, text: str) -> str:
    """Whether a text without blanks around it casts to a kind; null for null."""
    check = KINDS[kind].check
    return check.replace("{t}", text) if check else f"{text} is not null"


def cell(kind: str, text: str, part: int = 0) -> str:
    """The value that a text without blanks around it has as a kind, or null.

    :param part: of a ``geopoint``, the number of one of its four columns, from 0.
    """
    cast = (_word(part + 1) if kind == "geopoint" else KINDS[kind].cast).replace("{t}", text)
    return f"case when {casts(kind, text)} then {cast} end" if KINDS[kind].check else cast
