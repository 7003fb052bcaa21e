"""SQL as a hook or a model has it: its statements, and the tables that it names.

sqlparse, which dbt brings, does not do for this: it takes a backslash in an ordinary string for an escape, so that
``'\\'; …`` ends elsewhere than in PostgreSQL, and ends nested comments too early.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

Place = tuple[str, str]
NAME = r'(?:"(?:[^"]|"")+"|[^\W\d][\w$]*)'
CHAIN = rf"{NAME}(?:\s*\.\s*{NAME})*"
# Comments in comments, as deep as anybody writes them.
_INNER = r"/\*(?:(?!/\*|\*/).)*\*/"
for _ in range(3):
    _INNER = rf"/\*(?:(?!/\*|\*/).|{_INNER})*\*/"
_REMARK = rf"--[^\n]*|{_INNER}"
_TOKEN = re.compile(
    rf"""(?P<comment>{_REMARK})
    |(?P<body>\$(?P<tag>[^\W\d]\w*|)\$.*?\$(?P=tag)\$)
    |(?P<text>\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*')
    |(?P<chain>{CHAIN})
    |(?P<other>.)""",
    re.S | re.X,
)
_COMMENT = re.compile(rf"\s+|{_REMARK}", re.S)
_ATOMIC = re.compile(r"create\s+(or\s+replace\s+)?(function|procedure)\b.*\bbegin\s+atomic\b", re.I | re.S)
_FINDS_TABLE = re.compile(
    r"\b(to_regclass|pg_relation_size|pg_total_relation_size|pg_table_size|nextval)\s*\(\s*$", re.I
)
_AS_TABLE = re.compile(r"\s*::\s*regclass\b", re.I)


def plain(name: str) -> str:
    """A name as PostgreSQL takes it."""
    name = name.strip()
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()


def quoted(name: str) -> str:
    """A name in quotes."""
    return '"{}"'.format(name.replace('"', '""'))


def parts(chain: str) -> list[str]:
    """The parts of a name such as ``"database".schema.table``, as PostgreSQL takes them."""
    return [plain(part) for part in re.findall(NAME, chain)]


def place_of(chain: str) -> Place | None:
    """Schema and name of a relation; None where no schema is named."""
    found = parts(chain)
    return (found[-2], found[-1]) if len(found) > 1 else None


def without_comments(statement: str) -> str:
    """A statement from its first word on."""
    while found := _COMMENT.match(statement):
        statement = statement[found.end() :]
    return statement


def statements(text: str) -> list[str]:
    """The statements of a text, which semicolons part; bodies of functions and rules stay whole."""
    found, now, depth = [], "", 0
    for token in _TOKEN.finditer(text):
        piece = token[0]
        depth += {"(": 1, ")": -1}.get(piece, 0)
        if piece == ";" and depth <= 0 and not _in_body(now):
            found.append(now)
            now, depth = "", 0
        else:
            now += piece
    return [one for one in [*found, now] if without_comments(one)]


def renamed(text: str, new: Callable[[Place], str | None], database: str, everywhere: bool = False) -> str:
    """A text with other schemas for some of the tables that it names.

    Texts in quotes are values, unless PostgreSQL is to look for a table of that name.

    :param new: the new schema for schema and name of a table; None for the one that it has.
    :param database: name of the database, which may stand before a schema.
    :param everywhere: whether what is in quotes and in bodies is SQL too, as in a ``do`` block.
    """

    def chain(found: str) -> str:
        pieces = re.findall(NAME, found)
        first = 1 if len(pieces) > 2 and plain(pieces[0]) == database else 0
        if len(pieces) - first < 2:
            return found
        schema = new((plain(pieces[first]), plain(pieces[first + 1])))
        return found if schema is None else ".".join([quoted(schema), *pieces[first + 1 :]])

    def written() -> Iterator[str]:
        for token in _TOKEN.finditer(text):
            piece = token[0]
            if token["chain"]:
                yield chain(piece)
            elif token["body"]:
                mark = f"${token['tag']}$"
                inside = piece[len(mark) : -len(mark)]
                yield mark + renamed(inside, new, database, True) + mark if everywhere else piece
            elif token["text"] and (everywhere or _is_looked_for(text, token.start(), token.end())):
                start = piece.index("'") + 1
                yield piece[:start] + renamed(piece[start:-1], new, database, True) + "'"
            else:
                yield piece

    return "".join(written())


def _is_looked_for(text: str, start: int, end: int) -> bool:
    """Whether PostgreSQL is to look for the relation that is named in quotes."""
    return bool(_AS_TABLE.match(text, end) or _FINDS_TABLE.search(text, max(0, start - 50), start))


def _in_body(statement: str) -> bool:
    found = _ATOMIC.match(without_comments(statement))
    if not found:
        return False
    rest = statement[found.end() :].lower()
    return len(re.findall(r"\bend\b", rest)) <= len(re.findall(r"\bcase\b", rest))
