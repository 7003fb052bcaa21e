"""Counts what reports hold: how many there are, which fields say something, and what does not cast to which type.

It reads each report once, when it has arrived, and keeps numbers alone, never a value.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

import msgspec
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.common.units import MEGABYTE
from cht_sync.errors import StoreError
from cht_sync.forms.catalogue import Catalogue, Count, Counts
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.cells import BLANKS, KINDS, casts, kind_of
from cht_sync.forms.definition import LONGEST_CODE, FormDefinition, Path, is_too_long
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession

log = logging.getLogger(__name__)
# Documents of a batch, and of what is fetched of it at once.
FIRST, MOST, AT_ONCE = 2_000, 10_000, 50
# Characters of the fields of all reports of a batch, and of one report; of a larger one no field is counted.
MOST_TEXT, LARGEST_REPORT = 32 * MEGABYTE, 4 * MEGABYTE
# Values that are sent to be checked at once.
MOST_VALUES = 20_000
# Of one statement; what takes longer is tried again with fewer documents.
STATEMENT_TIMEOUT = "30s"
MOST_LEVELS = 30
# Keys that somebody made of ids, or codes that somebody made up, must not fill the catalogue.
MOST_UNDECLARED, MOST_FORMS, MOST_NODES = 500, 2_000, 5_000
# Every type that a field might be shown to have; all values are text.
KINDS_TO_TRY = tuple(kind for kind in KINDS if kind not in {"text", "text[]"})
EVERY_KIND = (1 << len(KINDS_TO_TRY)) - 1
# A time-out, and what single documents may be the reason of: odd data, or more than a limit allows.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_OF_DOCUMENTS = ("57014", "22", "54")

_BOUND = "select set_config('statement_timeout', %s, true), set_config('jit', 'off', true)"
# The index on saved_timestamp serves this; documents of one stamp are those of a page.
_PAGE = """
select page.saved_timestamp::text, page._id, {said}
from (
    select saved_timestamp, _id, _deleted, doc from {schema}.{table}
    where saved_timestamp >= %(stamp)s::timestamp and (saved_timestamp, _id) > (%(stamp)s::timestamp, %(id)s)
    order by saved_timestamp, _id limit %(limit)s
) as page
"""
# One look at a document, which PostgreSQL may have to unpack.
_OF_REPORTS = """
{page}
left join lateral (
    select said.form #>> '{{}}' as form,
        case when length(written.fields) <= %(largest)s then written.fields end as fields
    from jsonb_to_record(case when not coalesce(page._deleted, false) then page.doc end)
        as said (type jsonb, form jsonb, fields jsonb)
    cross join lateral (
        select case when jsonb_typeof(said.fields) = 'object' then said.fields::text end as fields offset 0
    ) as written
    where said.type = '"data_record"' and jsonb_typeof(said.form) = 'string'
        and length(said.form #>> '{{}}') between 1 and %(longest)s
) as report on true
order by page.saved_timestamp, page._id
"""
_CHECK = """
select field, {failing}
from jsonb_to_recordset(%s::jsonb) as value (field integer, kinds integer, said text, number bigint) group by field
"""
# Every scalar as the text that PostgreSQL has for it.
_JSON = json.JSONDecoder(parse_float=str, parse_int=str)


class Counter:
    """Counts reports into the catalogue, batch by batch.

    :param session: of the role that owns the catalogue.
    """

    def __init__(self, session: PatientSession, names: Names) -> None:
        self._session, self._names = session, names
        self._catalogue = Catalogue(names)
        self._limit = FIRST

    def count(self, until: float) -> bool:
        """Counts reports that nobody has counted; whether none is left.

        :param until: ``time.monotonic()`` after which no further batch begins.
        """
        is_skipped = False
        while time.monotonic() < until:
            try:
                with self._session.transaction("count reports of forms") as cursor:
                    is_over = self._batch(cursor, is_skipped)
            except StoreError as error:
                if not error.code.startswith(_OF_DOCUMENTS):
                    raise
                is_skipped = self._limit == 1
                self._limit = max(1, self._limit // 10)
                continue
            if is_over:
                return True
            self._limit, is_skipped = min(MOST, self._limit * 2), False
        return False

    def _batch(self, cursor: Cursor, is_skipped: bool) -> bool:
        """Counts the next documents, or passes one over; whether there are no more."""
        cursor.execute(_BOUND, (STATEMENT_TIMEOUT,))
        before = self._catalogue.counted_to(cursor)
        batch = _Batch(self._catalogue, cursor)
        looked, size, end = 0, 0, before
        for stamp, document, form, fields in self._documents(cursor, before, is_skipped):
            looked, end = looked + 1, (stamp, document)
            if form is not None:
                size += len(fields or "")
                batch.look(form, stamp, fields)
            if size > MOST_TEXT:
                break
        if is_skipped:
            log.warning("A document takes too long or cannot be looked into: it is not counted among reports.")
        self._catalogue.add(cursor, batch.counts())
        if looked:
            self._catalogue.move(cursor, *end)
        return looked < self._limit and size <= MOST_TEXT

    def _documents(
        self, cursor: Cursor, before: tuple[str, str], is_skipped: bool
    ) -> Iterator[tuple[str, str, str | None, str | None]]:
        """Stamp and id of the next documents, of reports their form and their fields too."""
        values = {"stamp": before[0], "id": before[1], "limit": self._limit, "longest": LONGEST_CODE,
                  "largest": LARGEST_REPORT}  # fmt: skip
        said = sql.SQL("null, null" if is_skipped else "report.form, report.fields")
        page = self._names.compose(_PAGE, said=said)
        with closing(cursor.connection.cursor("cht_sync_reports")) as documents:
            documents.itersize = AT_ONCE
            self._names.execute(documents, "{page}" if is_skipped else _OF_REPORTS, values, page=page)
            yield from documents


class _Node:
    """A path of a form, with what the reports of a batch have said there.

    :param is_field: whether a value belongs here.
    :param is_closed: whether an object here is no group.
    :param is_new: whether the catalogue does not know it.
    :param kinds: the kinds that are tried, a bit for each of :data:`KINDS_TO_TRY`.
    """

    __slots__ = ("below", "filled", "is_closed", "is_field", "is_new", "is_repeat", "kinds", "lists", "nested",
                 "newest", "path", "values")  # fmt: skip

    def __init__(self, path: Path) -> None:
        self.path, self.newest = path, ""
        self.is_field = self.is_closed = self.is_repeat = self.is_new = False
        self.kinds = 0
        self.below: dict[str, _Node] = {}
        self.values: dict[str, int] = {}
        self.filled = self.lists = self.nested = 0


class _FormNodes:
    """The paths of one form while a batch is counted."""

    def __init__(self, form: CatalogueForm) -> None:
        self.code = form.code
        self.reports, self.newest = 0, ""
        self.repeats = form.definition.repeats
        self.root = _Node(())
        self._room = MOST_UNDECLARED - len(form.undeclared)
        self._nodes = 0
        for repeat in self.repeats:
            self._known(repeat).is_repeat = True
        for field in form.definition.fields:
            node = self._known(field.path)
            node.is_field, node.is_closed = True, field.path not in form.undeclared
            failed, declared = form.failing.get(field.path, {}), kind_of(field.type)
            tried = [kind == declared or kind not in failed for kind in KINDS_TO_TRY]
            node.kinds = sum(1 << number for number, is_tried in enumerate(tried) if is_tried)
        for node in self.nodes():
            node.is_closed = node.is_closed and not node.below and not node.is_repeat

    def nodes(self) -> Iterator[_Node]:
        """All of them."""
        left = [self.root]
        while left:
            node = left.pop()
            left += node.below.values()
            yield node

    def look(self, fields: dict[str, Any]) -> None:
        """Counts the fields of a report."""
        self._inside(fields, self.root)

    def repeat_of(self, path: Path) -> Path | None:
        """The innermost repeat around a path."""
        around = [each for each in self.repeats if len(each) < len(path) and path[: len(each)] == each]
        return max(around, key=len, default=None)

    def _known(self, path: Path) -> _Node:
        node = self.root
        for end, key in enumerate(path, 1):
            node = node.below.setdefault(key, _Node(path[:end]))
        return node

    def _inside(self, group: dict[str, Any], above: _Node) -> None:
        for key, value in group.items():
            # Most of what a form could hold says nothing.
            if not value and value is not False:
                continue
            node = above.below.get(key) or self._new(above, key)
            if node is None:
                continue
            if type(value) is dict:
                if node.is_closed or (node.is_new and len(node.path) >= MOST_LEVELS):
                    self._say_list(node, is_nested=True)
                else:
                    self._inside(value, node)
            elif type(value) is list:
                self._list(value, node)
            elif node.is_field:
                self._say(node, value if type(value) is str else "true" if value else "false")

    def _list(self, value: list[Any], node: _Node) -> None:
        if node.is_repeat:
            for element in value:
                if type(element) is dict:
                    self._inside(element, node)
        elif node.is_field:
            self._say_list(node, is_nested=any(type(each) in {dict, list} for each in value))

    def _say(self, node: _Node, value: str) -> None:
        text = value.strip(BLANKS)
        if text and self._has_room(node):
            node.filled += 1
            node.newest = self.newest
            if node.kinds:
                node.values[text] = node.values.get(text, 0) + 1

    def _say_list(self, node: _Node, is_nested: bool) -> None:
        if self._has_room(node):
            node.filled += 1
            node.newest = self.newest
            node.lists += 1
            node.nested += is_nested

    def _new(self, above: _Node, key: str) -> _Node | None:
        """The place of a key that the catalogue does not know; none where there are too many."""
        path = (*above.path, key)
        if self._nodes >= MOST_NODES or is_too_long(path):
            return None
        self._nodes += 1
        node = above.below[key] = _Node(path)
        node.is_field, node.is_new, node.kinds = True, True, EVERY_KIND
        return node

    def _has_room(self, node: _Node) -> bool:
        """Whether a value may be counted: the first of a path that the catalogue does not know needs room for that."""
        if node.is_new and not node.filled:
            if self._room <= 0:
                return False
            self._room -= 1
        return True


class _Batch:
    """What some documents hold.

    :param cursor: of the transaction in which they are counted.
    """

    def __init__(self, catalogue: Catalogue, cursor: Cursor) -> None:
        self._catalogue, self._cursor = catalogue, cursor
        self._known = catalogue.codes(cursor)
        self._room = MOST_FORMS - len(self._known)
        self._forms: dict[str, _FormNodes | None] = {}

    def look(self, code: str, stamp: str, fields: str | None) -> None:
        """Counts a report.

        :param fields: as JSON; None where it has none, or too large ones.
        """
        if code not in self._forms:
            self._forms[code] = self._nodes_of(code)
        form = self._forms[code]
        if form is None:
            return
        form.reports, form.newest = form.reports + 1, stamp
        if fields:
            with suppress(RecursionError):
                form.look(_JSON.decode(fields))

    def counts(self) -> Counts:
        """What was counted, with what does not cast to which kind."""
        forms = [each for each in self._forms.values() if each]
        said = [(form, node) for form in forms for node in form.nodes() if node.filled]
        failing = self._failing([node for _, node in said])
        return Counts(
            {form.code: (form.reports, form.newest) for form in forms},
            [Count(form.code, node.path, node.filled, failed, node.newest, form.repeat_of(node.path))
             for (form, node), failed in zip(said, failing, strict=True)],
        )  # fmt: skip

    def _nodes_of(self, code: str) -> _FormNodes | None:
        """The paths of a form; None of one that the catalogue has no room for."""
        if code not in self._known:
            if self._room <= 0:
                return None
            self._room -= 1
            return _FormNodes(CatalogueForm(code, "report", FormDefinition(code, "", None, ())))
        (form,) = self._catalogue.read(self._cursor, [code])
        return _FormNodes(form)

    def _failing(self, nodes: Sequence[_Node]) -> list[dict[str, int]]:
        """For each node by kind how many of its values do not cast; none of these is zero.

        A list or an object is in no column of another type, so it says nothing of the type of one.
        """
        failing = [{kind: number for kind, number in (("text", node.lists), ("text[]", node.nested)) if number}
                   for node in nodes]  # fmt: skip
        values = [{"field": number, "kinds": node.kinds, "said": text, "number": count}
                  for number, node in enumerate(nodes) for text, count in node.values.items()]  # fmt: skip
        for start in range(0, len(values), MOST_VALUES):
            checked = msgspec.json.encode(values[start : start + MOST_VALUES]).decode()
            self._cursor.execute(_CHECKED, (checked,))
            for field, *failed in self._cursor.fetchall():
                for kind, number in zip(KINDS_TO_TRY, failed, strict=True):
                    if number:
                        failing[field][kind] = failing[field].get(kind, 0) + int(number)
        return failing


def _check() -> sql.Composed:
    """What of some values does not cast to which kind; no check fails, whatever the text."""
    columns = ", ".join(
        f"sum(number) filter (where kinds & {1 << number} <> 0 and not coalesce({casts(kind, 'said')}, false))"
        for number, kind in enumerate(KINDS_TO_TRY)
    )
    return sql.SQL(_CHECK).format(failing=sql.SQL(columns.replace("%", "%%")))


_CHECKED = _check()
