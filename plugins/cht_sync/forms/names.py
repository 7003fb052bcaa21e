"""Names of tables and columns: lower case, of 63 bytes at most, and the same at every deployment."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Mapping

# The dbt package of all models that are made from forms.
FORMS_PACKAGE = "cht_forms"
# Of an identifier; PostgreSQL cuts longer ones without a word that stops anything.
MOST_BYTES = 63
MARK_LENGTH = 8
PLAIN_CODE = re.compile(r"[A-Za-z0-9_:.-]{1,200}")
NOT_PLAIN = re.compile(r"[^a-z0-9_]+")
# What every model of a form has; ``xmin`` and its like are columns of every table.
RESERVED = frozenset({"tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"})


def plain_name(parts: Iterable[str]) -> str:
    """A path as one name; two paths may have the same, see :func:`unique_names`.

    Accents go, any run of what is no ASCII letter or digit becomes ``_``, levels are joined by ``__``, and what is too
    long is cut in the middle of a path by a mark of the whole path.

    :param parts: levels of the path.
    """
    path = tuple(parts)
    named = "__".join(_plain(part) or _mark((part,)) for part in path)
    if not named or named[0].isdigit():
        named = f"_{named}"
    if len(named) <= MOST_BYTES:
        return named
    # What tells fields apart stands at the end.
    kept = MOST_BYTES - MARK_LENGTH - 2
    return f"{named[: kept // 3]}_{_mark(path)}_{named[len(named) - (kept - kept // 3) :]}"


def unique_names(
    paths: Iterable[tuple[str, ...]], taken: Iterable[str] = (), known: Mapping[tuple[str, ...], str] | None = None
) -> dict[tuple[str, ...], str]:
    """A name for each path, none twice; one that a path has already stays.

    The first path of a name has it plain, later ones end with a mark of their path.

    :param taken: names of other columns of the table.
    :param known: names that paths have had before.
    """
    named = dict(known or {})
    used = {*taken, *RESERVED, *named.values()}
    for path in dict.fromkeys(paths):
        if path in named:
            continue
        name = plain_name(path)
        named[path] = name if name not in used else _marked(name, path)
        used.add(named[path])
    return {path: named[path] for path in dict.fromkeys(paths)}


def form_key(code: str) -> str:
    """What the config of a model names a form by: its code, or a hash of one that Jinja might read otherwise."""
    return code if PLAIN_CODE.fullmatch(code) else hashlib.sha256(code.encode(errors="surrogatepass")).hexdigest()[:16]


def _marked(name: str, path: tuple[str, ...]) -> str:
    return f"{name[: MOST_BYTES - MARK_LENGTH - 1]}_{_mark(path)}"


def _plain(part: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode()
    return NOT_PLAIN.sub("_", ascii_only.lower()).strip("_") if ascii_only.strip("_") else ""


def _mark(path: tuple[str, ...]) -> str:
    return hashlib.sha256("\0".join(path).encode()).hexdigest()[:MARK_LENGTH]
