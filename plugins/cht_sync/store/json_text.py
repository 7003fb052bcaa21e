"""Changes to a document's JSON text that must be exact and must not parse the whole of it."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

USER_PREFIX = "org.couchdb.user:"
_ESCAPED_NUL = b"\\u0000"
_ESCAPE = re.compile(rb"\\(?:u0000|.)", re.DOTALL)
_PASSWORD_FIELDS = {"derived_key", "salt", "iterations", "pbkdf2_prf"}
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


def without_nul(body: bytes) -> bytes:
    """Takes the character U+0000 out of a JSON text; ``jsonb`` cannot hold it.

    Escapes are read one by one, so that a backslash which is itself escaped stays: the text ``C:\\u0000dir``
    that somebody typed as characters is not touched.

    :return: the same text without U+0000.
        Source: https://www.postgresql.org/docs/current/datatype-json.html
    :raises ValueError: if two keys of an object would become one, or it is nested too deeply to know.
    """
    if _ESCAPED_NUL not in body:
        return body
    stripped = _ESCAPE.sub(lambda match: b"" if match[0] == _ESCAPED_NUL else match[0], body)
    if len(stripped) != len(body):
        _refuse_merged_keys(body)
    return stripped


def _refuse_merged_keys(body: bytes) -> None:
    def check(pairs: list[tuple[str, Any]]) -> None:
        names = {name for name, _ in pairs}
        if len({name.replace("\0", "") for name in names}) < len(names):
            raise _MergedError

    try:
        json.loads(body.decode("utf-8", "surrogateescape"), object_pairs_hook=check, strict=False, **_NO_NUMBERS)
    except _MergedError:
        raise ValueError("two keys of an object differ in nothing but U+0000, which jsonb cannot hold") from None
    except RecursionError:
        raise ValueError("it holds U+0000, which jsonb cannot, and is nested too deeply to take it out") from None
    except ValueError:
        return  # no sound JSON: Postgres says so with its own words


# What numbers are does not matter here, and Python's own limits for them must not.
_NO_NUMBERS: dict[str, Any] = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), lambda text: None)  # noqa: ARG005


class _MergedError(Exception):
    pass


def without_password(body: bytes) -> bytes:
    """Takes the password material out of a document of CouchDB's user database.

    Whatever else the document holds keeps its exact text. A document that says it is of another type than
    ``user`` (CHT's ``user-settings``, of the same ids) is left as it is.

    :param body: JSON text of a document whose ``_id`` starts with ``org.couchdb.user:``.
    :return: JSON text without ``derived_key``, ``salt``, ``iterations``, ``pbkdf2_prf`` and ``password*``.
        Source: https://docs.couchdb.org/en/stable/intro/security.html#users-documents
    :raises ValueError: if its fields cannot be told apart; nothing of such a document may be kept.
    """
    try:
        fields = _FIELDS.decode(body)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"its password material cannot be told apart ({type(error).__name__})") from None
    types = [value for name, value in fields.items() if name.replace("\0", "") == "type"]
    kind = msgspec.json.decode(types[-1]) if len(types) == 1 else None
    # U+0000 is taken out later: it must not hide what a name or a type will be then.
    if isinstance(kind, str) and kind.replace("\0", "") != "user":
        return body
    return msgspec.json.encode(
        {name: value for name, value in fields.items() if not _is_secret(name.replace("\0", ""))}
    )


def _is_secret(name: str) -> bool:
    return name in _PASSWORD_FIELDS or name.startswith("password")
