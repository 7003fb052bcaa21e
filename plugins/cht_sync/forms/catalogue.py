"""The tables ``form`` and ``form_field``: what the definitions of each form say together, and what reports hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import msgspec
from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.definition import Choice, FormDefinition, FormField, Path
from cht_sync.forms.definition_table import APP_SETTINGS, DefinitionTable, StoredDefinition
from cht_sync.forms.merge import merge_definitions
from cht_sync.postgres.query import Names

_FORM = """
insert into {schema}.form as known (code, kind, title, labels, versions, repeats, removed_at, error)
values (%(code)s, %(kind)s, %(title)s, %(labels)s, %(versions)s, %(repeats)s, %(removed_at)s, %(error)s)
on conflict (code) do update
set kind = excluded.kind, title = excluded.title, labels = excluded.labels, versions = excluded.versions,
    repeats = excluded.repeats, removed_at = excluded.removed_at, error = excluded.error
"""
_PATHS = sql.SQL("select array(select jsonb_array_elements_text(path))")
_FIELDS = """
insert into {schema}.form_field as known
    (code, path, position, declared, declared_type, labels, choices, repeat, hidden, note, gone_at)
select %(code)s, ({paths}), position, true, type, labels, nullif(choices, '[]'),
    case when jsonb_typeof(repeat) = 'array' then array(select jsonb_array_elements_text(repeat)) end,
    hidden, note, gone
from jsonb_to_recordset(%(fields)s::jsonb) as field (
    path jsonb, position integer, type text, labels jsonb, choices jsonb, repeat jsonb, hidden boolean, note boolean,
    gone timestamptz
)
on conflict (code, path) do update
set position = excluded.position, declared = true, declared_type = excluded.declared_type, labels = excluded.labels,
    choices = excluded.choices, repeat = excluded.repeat, hidden = excluded.hidden, note = excluded.note,
    gone_at = excluded.gone_at
where (known.position, known.declared, known.declared_type, known.labels, known.choices, known.repeat, known.hidden,
        known.note, known.gone_at)
    is distinct from (excluded.position, true, excluded.declared_type, excluded.labels, excluded.choices,
        excluded.repeat, excluded.hidden, excluded.note, excluded.gone_at)
"""
# What reports had before a definition told that it holds fields itself.
_FORGET = """
delete from {schema}.form_field
where code = %(code)s and not declared and path in (
    select ({paths}) from jsonb_array_elements(%(groups)s::jsonb) as groups (path)
)
returning path
"""
_NAMED = "select columns from {schema}.form where code = %s for update"
_NAME = "update {schema}.form set columns = %s where code = %s"
_NAME_FIELDS = """
update {schema}.form_field f set column_name = named.name
from (
    select ({paths}) as path, name from jsonb_to_recordset(%(names)s::jsonb) as named (path jsonb, name text)
) as named
where f.code = %(code)s and f.path = named.path and f.column_name is distinct from named.name
"""
_READ = """
select code, kind, coalesce(title, ''), labels, versions, repeats, columns, reports, removed_at, error
from {schema}.form where %(codes)s::text[] is null or code = any(%(codes)s::text[]) order by code
"""
_READ_FIELDS = """
select code, path, declared, declared_type, labels, choices, repeat, hidden, note, filled, failing, gone_at
from {schema}.form_field where %(codes)s::text[] is null or code = any(%(codes)s::text[])
order by code, position, path
"""
_CODES = "select code from {schema}.form"
_COUNT_REPORTS = """
insert into {schema}.form as known (code, kind, title, reports, last_seen)
select code, 'report', '', reports, newest
from jsonb_to_recordset(%s::jsonb) as counted (code text, reports bigint, newest timestamp)
on conflict (code) do update
set reports = known.reports + excluded.reports, last_seen = greatest(known.last_seen, excluded.last_seen)
"""
# A field that no definition has comes behind all that one has.
_COUNT_FIELDS = """
insert into {schema}.form_field as known
    (code, path, position, declared, declared_type, repeat, hidden, note, filled, failing, last_seen)
select code, ({paths}), 1000000, false, 'string',
    case when jsonb_typeof(repeat) = 'array' then array(select jsonb_array_elements_text(repeat)) end,
    true, false, filled, failing, newest
from jsonb_to_recordset(%s::jsonb) as counted (
    code text, path jsonb, repeat jsonb, filled bigint, failing jsonb, newest timestamp
)
on conflict (code, path) do update
set filled = known.filled + excluded.filled, last_seen = greatest(known.last_seen, excluded.last_seen), failing = (
    select nullif(jsonb_object_agg(kind, coalesce((known.failing ->> kind)::bigint, 0)
        + coalesce((excluded.failing ->> kind)::bigint, 0)), '{{}}')
    from (
        select jsonb_object_keys(coalesce(known.failing, '{{}}')) as kind
        union select jsonb_object_keys(coalesce(excluded.failing, '{{}}'))
    ) as kinds
)
"""
_PROGRESS = """
insert into {schema}.couchdb_form_progress as known (documents, counted_to, counted_id) values (%s, '-infinity', '')
on conflict (documents) do update set documents = excluded.documents returning counted_to::text, counted_id
"""
_MOVE = "update {schema}.couchdb_form_progress set counted_to = %s, counted_id = %s where documents = %s"


@dataclass
class Count:
    """What some reports of a form have said at a path.

    :param failing: by kind, how many of these values do not cast to it.
    :param newest: ``saved_timestamp`` of the newest of these reports.
    """

    code: str
    path: Path
    filled: int
    failing: Mapping[str, int]
    newest: str
    repeat: Path | None = None


@dataclass
class Counts:
    """What a batch of documents holds; ``reports`` and their newest ``saved_timestamp`` by code."""

    reports: dict[str, tuple[int, str]] = field(default_factory=dict)
    fields: list[Count] = field(default_factory=list)


class Catalogue:
    """The tables ``form``, ``form_field`` and ``couchdb_form_progress``; all within the transactions of others.

    :param names: schema and table of the documents.
    """

    def __init__(self, names: Names) -> None:
        self._names = Names(names.schema, names.table, paths=_PATHS)
        self.definitions = DefinitionTable(names)

    def read(self, cursor: Cursor, codes: Collection[str] | None = None) -> list[CatalogueForm]:
        """Forms as the catalogue knows them, in the order of their codes.

        :param codes: those that are wanted; all by default.
        """
        values = {"codes": None if codes is None else list(codes)}
        forms = self._names.execute(cursor, _READ, values).fetchall()
        fields: dict[str, list[tuple[Any, ...]]] = {}
        for code, *row in self._names.execute(cursor, _READ_FIELDS, values).fetchall():
            fields.setdefault(code, []).append(tuple(row))
        return [_form(row, fields.get(row[0], [])) for row in forms]

    def codes(self, cursor: Cursor) -> set[str]:
        """Codes of all forms."""
        return {code for (code,) in self._names.execute(cursor, _CODES)}

    def save_columns(self, cursor: Cursor, code: str, columns: Mapping[Path, str]) -> None:
        """Notes names of tables and columns; those that paths have had before stay, unless they are given anew.

        :param cursor: of a transaction of the role that owns the catalogue.
        """
        row = self._names.execute(cursor, _NAMED, (code,)).fetchone()
        if row is None:
            return
        before = _columns(row[0])
        if (after := {**before, **columns}) != before:
            self._name(cursor, code, after)

    def rebuild(self, cursor: Cursor, codes: Iterable[str]) -> None:
        """Makes the rows of forms from all their definitions, after one was stored or is not in use any more."""
        for code in sorted(codes):
            self._rebuild(cursor, code, self.definitions.of_code(cursor, code))

    def add(self, cursor: Cursor, counts: Counts) -> None:
        """Adds what reports were counted to hold."""
        reports = [{"code": code, "reports": number, "newest": newest}
                   for code, (number, newest) in counts.reports.items()]  # fmt: skip
        self._names.execute(cursor, _COUNT_REPORTS, (_json(reports),))
        fields = [{
            "code": each.code, "path": each.path, "repeat": each.repeat, "filled": each.filled,
            "failing": dict(each.failing) or None, "newest": each.newest,
        } for each in counts.fields]  # fmt: skip
        self._names.execute(cursor, _COUNT_FIELDS, (_json(fields),))

    def counted_to(self, cursor: Cursor) -> tuple[str, str]:
        """Stamp and ``_id`` of the document that was looked at last; nobody else counts until the transaction ends."""
        stamp, document = self._names.row(cursor, _PROGRESS, (self._names.table,))
        return stamp, document

    def move(self, cursor: Cursor, stamp: str, document: str) -> None:
        """Notes which document was looked at last."""
        self._names.execute(cursor, _MOVE, (stamp, document, self._names.table))

    def _rebuild(self, cursor: Cursor, code: str, stored: list[StoredDefinition]) -> None:
        good = [each for each in stored if each.definition]
        merged = merge_definitions(each.definition for each in good if each.definition) if good else None
        errors = [f"{each.source}: {each.error}" for each in stored if each.error and each.replaced_at is None]
        values = {
            "code": code,
            "kind": _kind(code, stored),
            "title": merged.title if merged else "",
            "labels": _json(merged.labels if merged else {}),
            "versions": _json(_versions(good)),
            "repeats": _json(merged.repeats if merged else ()),
            "removed_at": _removed_at(stored),
            "error": "; ".join(errors) or None,
        }
        self._names.execute(cursor, _FORM, values)
        if merged:
            self._write_fields(cursor, code, merged, _gone(good))

    def _write_fields(self, cursor: Cursor, code: str, merged: FormDefinition, gone: Mapping[Path, datetime]) -> None:
        groups = {each.path[:end] for each in merged.fields for end in range(1, len(each.path))} | {*merged.repeats}
        forgotten = self._names.execute(cursor, _FORGET, {"code": code, "groups": _json(sorted(groups))}).fetchall()
        if forgotten:
            self._unname(cursor, code, {tuple(path) for (path,) in forgotten})
        fields = [{
            "path": each.path, "position": number, "type": each.type, "labels": each.labels, "choices": each.choices,
            "repeat": each.repeat, "hidden": each.hidden, "note": each.note, "gone": gone.get(each.path),
        } for number, each in enumerate(merged.fields)]  # fmt: skip
        self._names.execute(cursor, _FIELDS, {"code": code, "fields": _json(fields)})

    def _unname(self, cursor: Cursor, code: str, paths: Collection[Path]) -> None:
        (columns,) = self._names.row(cursor, _NAMED, (code,))
        named = _columns(columns)
        self._name(cursor, code, {path: name for path, name in named.items() if path not in paths})

    def _name(self, cursor: Cursor, code: str, columns: Mapping[Path, str]) -> None:
        self._names.execute(cursor, _NAME, (_json(sorted(columns.items())), code))
        shown: dict[Path, list[str]] = {}
        for path, name in columns.items():
            # A position has several, each under a last part of its own.
            of_field = path[:-1] if path and path[-1].startswith("*") else path
            shown.setdefault(of_field, []).append(name)
        names = [{"path": path, "name": ", ".join(each)} for path, each in shown.items()]
        self._names.execute(cursor, _NAME_FIELDS, {"code": code, "names": _json(names)})


def _form(row: tuple[Any, ...], rows: list[tuple[Any, ...]]) -> CatalogueForm:
    code, kind, title, labels, versions, repeats, columns, reports, removed_at, error = row
    fields: list[FormField] = []
    filled: dict[Path, int] = {}
    failing: dict[Path, dict[str, int]] = {}
    gone: dict[Path, date] = {}
    undeclared: set[Path] = set()
    for each in rows:
        made = _field(each)
        fields.append(made)
        _, declared, *_, said, failed, gone_at = each
        filled[made.path] = said
        failing |= {made.path: failed} if failed else {}
        gone |= {made.path: gone_at.date()} if gone_at else {}
        undeclared |= set() if declared else {made.path}
    definition = FormDefinition(
        code=code,
        title=title,
        version=versions[-1] if versions else None,
        fields=tuple(fields),
        repeats=tuple(tuple(path) for path in repeats or ()),
        labels=labels or {},
    )
    return CatalogueForm(
        code=code, kind=kind, definition=definition, columns=_columns(columns), versions=tuple(versions or ()),
        reports=reports, filled=filled, failing=failing, gone=gone, undeclared=frozenset(undeclared),
        removed_at=removed_at, error=error,
    )  # fmt: skip


def _field(row: tuple[Any, ...]) -> FormField:
    path, _, declared_type, labels, choices, repeat, hidden, note, *_ = row
    return FormField(
        path=tuple(path),
        type=declared_type,
        labels=labels or {},
        choices=msgspec.convert(choices or [], tuple[Choice, ...]),
        repeat=None if repeat is None else tuple(repeat),
        hidden=hidden,
        note=note,
    )


def _kind(code: str, stored: Collection[StoredDefinition]) -> str:
    for kind in ("contact", "training"):
        if code.startswith(f"{kind}:"):
            return kind
    in_use = [each for each in stored if each.replaced_at is None] or stored
    return "sms" if all(each.document == APP_SETTINGS for each in in_use) else "report"


def _versions(good: Iterable[StoredDefinition]) -> list[str]:
    named = [each.definition.version for each in good if each.definition and each.definition.version]
    # The newest sight of each counts: a form may go back.
    return list(reversed(dict.fromkeys(reversed(named))))


def _removed_at(stored: Collection[StoredDefinition]) -> datetime | None:
    times = [each.replaced_at for each in stored]
    return None if None in times or not times else max(each for each in times if each)


def _gone(good: Collection[StoredDefinition]) -> dict[Path, datetime]:
    """When fields were last in a definition, of those that are in none of those in use.

    Of a form that was removed no field is gone but those that it had lost before.
    """
    in_use = [each for each in good if each.replaced_at is None] or list(good)[-1:]
    there = {one.path for each in in_use if each.definition for one in each.definition.fields}
    gone: dict[Path, datetime] = {}
    for each in good:
        for one in each.definition.fields if each.definition and each.replaced_at else ():
            if one.path not in there and each.replaced_at:
                gone[one.path] = max(each.replaced_at, gone.get(one.path, each.replaced_at))
    return gone


def _columns(pairs: Iterable[tuple[list[str], str]] | None) -> dict[Path, str]:
    return {tuple(path): name for path, name in pairs or ()}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
