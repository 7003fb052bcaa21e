"""Counts what reports hold: how many there are, which fields say something, and what does not cast to which type.

It reads each report once, when it has arrived, and keeps numbers alone, never a value.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.errors import StoreError
from cht_sync.forms.catalogue import Catalogue, Count, Counts
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.cells import BLANKS, KINDS, casts, kind_of, literal, text_of
from cht_sync.forms.definition import FormDefinition, Path
from cht_sync.forms.definition_table import LONGEST_CODE
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession

log = logging.getLogger(__name__)
# Documents of a batch.
FIRST, MOST = 1_000, 5_000
BATCH_S = 2.0
# Of one batch, which is tried again with fewer documents.
STATEMENT_TIMEOUT = "20s"
MOST_LEVELS = 30
# Of an index row.
LONGEST_PATH = 1_500
# Keys that somebody made of ids, or codes that somebody made up, must not fill the catalogue.
MOST_UNDECLARED, MOST_FORMS = 500, 2_000
# Every type that a field might be shown to have; all values are text.
KINDS_TO_TRY = tuple(kind for kind in KINDS if kind != "text")
# A time-out, and what single documents may be the reason of: odd data, or more than a limit allows.
# Source: https://www.postgresql.org/docs/current/errcodes-appendix.html
_OF_DOCUMENTS = {"57", "22", "54"}

_BOUND = """
select set_config('statement_timeout', %s, true), set_config('work_mem', '64MB', true), set_config('jit', 'off', true)
"""
# The index on saved_timestamp serves this; documents of one stamp are those of a page.
_PAGE = """
from {schema}.{table}
where saved_timestamp >= %(stamp)s::timestamp and (saved_timestamp, _id) > (%(stamp)s::timestamp, %(id)s)
"""
_END = f"""
select count(*) over (), saved_timestamp::text, _id
from (select saved_timestamp, _id {_PAGE} order by saved_timestamp, _id limit %(limit)s) as page
order by saved_timestamp desc, _id desc limit 1
"""
# One look at a document, which PostgreSQL may have to unpack.
_BATCH = f"""
create temporary table cht_sync_reports on commit drop as
select said.form #>> '{{{{}}}}' as form, said.fields, page.saved_timestamp as stamp
from (
    select saved_timestamp, doc {_PAGE}
        and (saved_timestamp, _id) <= (%(end_stamp)s::timestamp, %(end_id)s) and not coalesce(_deleted, false)
) as page
cross join lateral jsonb_to_record(page.doc) as said (type jsonb, form jsonb, fields jsonb)
where said.type = '"data_record"' and jsonb_typeof(said.form) = 'string'
    and length(said.form #>> '{{{{}}}}') between 1 and %(longest)s
"""
_REPORTS = "select form, count(*), max(stamp) from pg_temp.cht_sync_reports group by form"
_SHAPE = """
create temporary table cht_sync_shape on commit drop as
select form, array(select jsonb_array_elements_text(path)) as path, is_field, is_value, is_repeat,
    array(select jsonb_array_elements_text(kinds)) as kinds
from jsonb_to_recordset(%s::jsonb) as shape (
    form text, path jsonb, is_field boolean, is_value boolean, is_repeat boolean, kinds jsonb
)
"""
# A leaf is a value, or what stands where one belongs: a list, and an object at a path that is a value in each definition.
# Elements of a repeat have the path of the repeat.
_COUNT = """
with recursive walk (form, stamp, path, value, is_leaf, kinds) as (
    select form, stamp, '{{}}'::text[], fields, false, null::text[]
    from pg_temp.cht_sync_reports where jsonb_typeof(fields) = 'object'
    union all
    select walk.form, walk.stamp, step.path, step.value,
        case jsonb_typeof(step.value)
            when 'object' then coalesce(shape.is_value, false) or cardinality(step.path) >= {levels}
            when 'array' then not coalesce(shape.is_repeat, false)
            else true
        end,
        case when shape.path is null then {every_kind} when shape.is_field then shape.kinds end
    from walk
    cross join lateral (
        select walk.path || inner_one.key as path, inner_one.value
        from jsonb_each(case jsonb_typeof(walk.value) when 'object' then walk.value end) as inner_one
        union all
        select walk.path, element
        from jsonb_array_elements(case jsonb_typeof(walk.value) when 'array' then walk.value end) as element
        where jsonb_typeof(element) = 'object'
    ) as step
    left join pg_temp.cht_sync_shape as shape on shape.form = walk.form and shape.path = step.path
    where not walk.is_leaf and step.value not in ('""', 'null', '[]', '{{}}')
), said as (
    select form, path, kinds, said, is_list, is_nested, count(*) as number, max(stamp) as newest
    from (
        select form, path, stamp, kinds, {text} as said, jsonb_typeof(value) = 'array' as is_list,
            jsonb_typeof(value) = 'object' or jsonb_typeof(value) = 'array'
                and jsonb_path_exists(value, 'strict $[*] ? (@.type() == "object" || @.type() == "array")') as is_nested
        from walk where is_leaf and kinds is not null
    ) as leaf
    where said is not null or is_list or is_nested
    group by form, path, kinds, said, is_list, is_nested
)
select form, path, sum(number)::bigint, max(newest), sum(number) filter (where is_list or is_nested)::bigint,
    {failing}
from said group by form, path
"""


class Counter:
    """Counts reports into the catalogue, batch by batch.

    :param session: of the role that owns the catalogue.
    """

    def __init__(self, session: PatientSession, names: Names) -> None:
        self._session, self._names = session, names
        self._catalogue = Catalogue(names)
        self._limit = FIRST
        self._count = _count_query()

    def count(self, until: float) -> bool:
        """Counts reports that nobody has counted; whether none is left.

        :param until: ``time.monotonic()`` after which no further batch begins.
        """
        is_skipped = False
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                with self._session.transaction("count reports of forms") as cursor:
                    looked = self._batch(cursor, is_skipped)
            except StoreError as error:
                if error.code[:2] not in _OF_DOCUMENTS:
                    raise
                is_skipped = self._limit == 1
                self._limit = max(1, self._limit // 10)
                continue
            if looked < self._limit:
                return True
            took, is_skipped = time.monotonic() - began, False
            self._limit = min(MOST, 1 + int(self._limit * min(2.0, BATCH_S / max(took, 0.01))))
        return False

    def _batch(self, cursor: Cursor, is_skipped: bool) -> int:
        """Counts the next documents, or passes them over; how many these are."""
        cursor.execute(_BOUND, (STATEMENT_TIMEOUT,))
        stamp, document = self._catalogue.counted_to(cursor)
        values = {"stamp": stamp, "id": document, "limit": self._limit, "longest": LONGEST_CODE}
        end = self._names.execute(cursor, _END, values).fetchone()
        if end is None:
            return 0
        looked, end_stamp, end_id = end
        if is_skipped:
            log.warning("A document takes too long or cannot be looked into: it is left out where reports are counted.")
            self._catalogue.move(cursor, end_stamp, end_id)
            return int(looked)
        self._names.execute(cursor, _BATCH, values | {"end_stamp": end_stamp, "end_id": end_id})
        cursor.execute(_REPORTS)
        reports = self._known({form: (number, newest) for form, number, newest in cursor.fetchall()}, cursor)
        if reports:
            forms = {each.code: each for each in self._catalogue.read(cursor, reports)}
            shape = [row for code in reports for row in _shape(code, forms.get(code))]
            cursor.execute(_SHAPE, (msgspec.json.encode(shape).decode(),))
            cursor.execute("analyze pg_temp.cht_sync_reports, pg_temp.cht_sync_shape")
            cursor.execute(self._count)
            fields = _counts(cursor.fetchall(), forms, reports)
            self._catalogue.add(cursor, Counts(reports, fields))
        self._catalogue.move(cursor, end_stamp, end_id)
        return int(looked)

    def _known(self, reports: dict[str, tuple[int, datetime]], cursor: Cursor) -> dict[str, tuple[int, datetime]]:
        """Those of forms that the catalogue has, and of others as long as it has room."""
        known = self._catalogue.codes(cursor) if reports else set()
        new = sorted(reports.keys() - known)[: max(0, MOST_FORMS - len(known))]
        return {code: reports[code] for code in reports if code in known or code in new}


def _count_query() -> sql.Composed:
    blanks = literal(BLANKS)
    failing = ", ".join(
        f"sum(number) filter (where '{kind}' = any(kinds) and {_fails(kind)})::bigint" for kind in KINDS_TO_TRY
    )
    parts = {
        "levels": str(MOST_LEVELS),
        "every_kind": f"array[{', '.join(map(literal, KINDS_TO_TRY))}]",
        "text": text_of("value", blanks, trimmed=True),
        "failing": failing,
    }
    return sql.SQL(_COUNT).format(**{name: sql.SQL(text) for name, text in parts.items()})


def _fails(kind: str) -> str:
    """Whether a value does not cast. A list or an object is in no column, so it says nothing of the type of one."""
    if kind == "text[]":
        return "is_nested"
    return f"not is_list and not is_nested and not coalesce({casts(kind, 'said.said')}, false)"


def _shape(code: str, form: CatalogueForm | None) -> Iterable[dict[str, Any]]:
    """What stands at each path of a form, and the kinds that are tried there: which no value has failed yet, and the
    declared one.
    """
    definition = form.definition if form else FormDefinition(code, "", None, ())
    fields = {each.path: each for each in definition.fields}
    repeats = set(definition.repeats)
    undeclared = form.undeclared if form else ()
    inner = [*fields, *repeats]
    groups = {path[:end] for path in inner for end in range(1, len(path))}
    for path in {*fields, *repeats, *groups}:
        field = fields.get(path)
        failed = (form.failing.get(path) or {}) if form else {}
        declared = kind_of(field.type) if field else ""
        yield {
            "form": code,
            "path": path,
            "is_field": field is not None,
            "is_value": field is not None and path not in undeclared and path not in groups and path not in repeats,
            "is_repeat": path in repeats,
            "kinds": [kind for kind in KINDS_TO_TRY if kind == declared or kind not in failed],
        }


def _counts(rows: Iterable[tuple[Any, ...]], forms: dict[str, CatalogueForm], reports: Iterable[str]) -> list[Count]:
    kept = set(reports)
    room = {code: MOST_UNDECLARED - len(forms[code].undeclared if code in forms else ()) for code in kept}
    known = {code: {each.path for each in form.definition.fields} for code, form in forms.items()}
    counts = []
    for code, listed, filled, newest, lists, *failing in rows:
        path: Path = tuple(listed)
        if code not in kept:
            continue
        if path not in known.get(code, ()):
            if room[code] <= 0 or len("".join(path).encode()) > LONGEST_PATH:
                continue
            room[code] -= 1
        failed = {kind: number for kind, number in zip(KINDS_TO_TRY, failing, strict=True) if number}
        failed |= {"text": lists} if lists else {}
        counts.append(Count(code, path, filled, failed, newest, _repeat_of(path, forms.get(code))))
    return counts


def _repeat_of(path: Path, form: CatalogueForm | None) -> Path | None:
    """The innermost repeat around a path."""
    repeats = form.definition.repeats if form else ()
    around = [each for each in repeats if len(each) < len(path) and path[: len(each)] == each]
    return max(around, key=len, default=None)
