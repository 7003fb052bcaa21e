"""Cuts the documents of a database into ranges of ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cht_sync.couchdb import CouchDBHook

Range = tuple[str | None, str | None]


def id_ranges(hook: CouchDBHook, database: str, size: int) -> list[Range]:
    """Ranges of about the same number of documents, whose bounds the listing itself says.

    :param hook: of the server.
    :param database: name of the database.
    :param size: documents in a range.
    :return: the ``_id`` that each begins with, and the one it ends before; None for begin and end of all.
    :raises CouchDBError: if CouchDB does not answer.
    """
    bounds: list[str | None] = [None]
    while row := hook.listing(database, (bounds[-1], None), 1, skip=size):
        bounds.append(row[0].id)
    return list(zip(bounds, [*bounds[1:], None], strict=True))
