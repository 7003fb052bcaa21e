"""Takes values out of exceptions, before anybody prints them with their tracebacks."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg2

from cht_sync.redaction.errors import of_error
from cht_sync.redaction.forms import CUT
from cht_sync.redaction.texts import of_ours, of_text

# What Python says of code, and not of data that it works on.
_OF_CODE = (
    AttributeError, ImportError, IndexError, MemoryError, NameError, NotImplementedError, OSError, RecursionError,
    TypeError, ZeroDivisionError,
)  # fmt: skip
_OURS = ("cht_sync", "airflow", "cosmos")


def cleaned(error: BaseException) -> bool:
    """Takes values out of the text of an exception and of all that led to it; the frames of the traceback stay.

    :param error: changed in place, because who prints it or sends it on is not asked.
    :return: whether that was possible: an exception may make its text of something else.
    """
    done = True
    for each in _chain(error):
        text = _text(each)
        if text is None or str(each) == text:
            continue
        each.args = (text,)
        if hasattr(each, "msg"):
            each.msg = text
        if hasattr(each, "__notes__"):
            del each.__notes__
        done = done and _says(each, text)
    return done


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting, seen = [error], set[int]()
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        waiting += [other for other in (each.__cause__, each.__context__) if other is not None]
        waiting += getattr(each, "exceptions", ())


def _text(error: BaseException) -> str | None:
    """What it may say; None for whatever it says now."""
    kind = type(error)
    if isinstance(error, psycopg2.Error):
        return of_error(error)
    package = kind.__module__.partition(".")[0]
    if package.startswith("dbt"):
        return of_text(str(error))
    if package == "cht_sync" and not getattr(error, "quotes", False):
        return None
    if package in _OURS:
        return of_ours(str(error))
    if package == "builtins" and (isinstance(error, _OF_CODE) or not isinstance(error, Exception)):
        return None
    return CUT if str(error) else None


def _says(error: BaseException, text: str) -> bool:
    said = str(error)
    # dbt puts its own words around, and KeyError quotes.
    return text in said and len(said) <= len(text) + len("Internal Error") + 8
