"""Changes to a document's JSON text that must be exact and must not parse the whole of it."""

from __future__ import annotations

import re

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

    :param body: a JSON text.
    :return: the same text without U+0000.
        Source: https://www.postgresql.org/docs/current/datatype-json.html
    """
    if _ESCAPED_NUL not in body:
        return body
    return _ESCAPE.sub(lambda match: b"" if match[0] == _ESCAPED_NUL else match[0], body)


def without_password(body: bytes) -> bytes:
    """Takes the password material out of a document of CouchDB's user database.

    Whatever else the document holds keeps its exact text. A document that says it is of another type than
    ``user`` (CHT's ``user-settings``, of the same ids) is left as it is.

    :param body: JSON text of a document whose ``_id`` starts with ``org.couchdb.user:``.
    :return: JSON text without ``derived_key``, ``salt``, ``iterations``, ``pbkdf2_prf`` and ``password*``.
        Source: https://docs.couchdb.org/en/stable/intro/security.html#users-documents
    """
    fields = _FIELDS.decode(body)
    kind = msgspec.json.decode(fields.get("type", b"null"))
    if isinstance(kind, str) and kind != "user":
        return body
    return msgspec.json.encode(
        {
            name: value
            for name, value in fields.items()
            if name not in _PASSWORD_FIELDS and not name.startswith("password")
        }
    )
