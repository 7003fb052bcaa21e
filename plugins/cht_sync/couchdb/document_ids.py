"""The ``_id`` of a document, as Postgres can hold it."""

from __future__ import annotations


def key_of(document_id: str) -> bytes:
    """The ``_id`` as Postgres stores it."""
    if "\0" in document_id:
        raise ValueError("its _id holds U+0000, which Postgres cannot")
    try:
        return document_id.encode()
    except UnicodeEncodeError:
        raise ValueError("its _id is no valid Unicode") from None


def storable(document: str) -> bool:
    """Whether Postgres can hold an ``_id``."""
    try:
        key_of(document)
    except ValueError:
        return False
    return True
