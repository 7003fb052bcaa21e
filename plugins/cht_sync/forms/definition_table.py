"""The table ``form_definition``: every definition of a form that was read, and which documents define forms now."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from psycopg2.extensions import cursor as Cursor

from cht_sync.forms.definition import LONGEST_CODE, FormDefinition
from cht_sync.forms.xform import MOST_BYTES
from cht_sync.postgres.query import Names

APP_SETTINGS = "settings"
PREFIX = "form:"
# Of an index row, with what else is in it.
LONGEST_ID = 500
# The range is wider than the ids that are meant, so that it holds them by whatever rules the database sorts.
_DOCUMENTS = """
select source, _id, doc ->> '_rev', doc ->> 'internalId', doc -> 'title', doc -> '_attachments'
from (
    select source, _id, doc, _deleted from {schema}.{table} where _id >= 'form' and _id < 'forn' or _id = 'settings'
    union all
    select source, _id, doc, _deleted from {schema}.couchdb_collision
    where _id >= 'form' and _id < 'forn' or _id = 'settings'
) as stored
where not coalesce(_deleted, false) and source is not null and jsonb_typeof(doc) = 'object'
    and (_id = 'settings' or starts_with(_id, 'form:') and doc ->> 'type' = 'form' and length(_id) <= %s)
order by _id, source
"""
_KNOWN = """
select source, document, code, digest, replaced_at is null, error is not null and tried_at < now() - interval '1 hour'
from {schema}.form_definition
"""
_STORE = """
insert into {schema}.form_definition as known (source, document, code, digest, version, definition, error)
values (%(source)s, %(document)s, %(code)s, %(digest)s, %(version)s, %(definition)s, %(error)s)
on conflict (source, document, code, digest) do update
set version = excluded.version, definition = excluded.definition, error = excluded.error, replaced_at = null,
    tried_at = now(),
    read_at = case when known.error is null or excluded.error is null then now() else known.read_at end
"""
_USE_AGAIN = """
update {schema}.form_definition set replaced_at = null
where source = %s and document = %s and code = %s and digest = %s and replaced_at is not null
"""
# All that a document has said but for what it says now.
_REPLACE = """
update {schema}.form_definition set replaced_at = now()
where source = %(source)s and document = %(document)s and replaced_at is null
    and not exists (select from unnest(%(codes)s::text[], %(digests)s::text[]) now (code, digest)
        where now.code = form_definition.code and now.digest = form_definition.digest)
returning code
"""
# Which revisions of the app settings were read, but for the newest.
_FORGET = """
delete from {schema}.form_definition where source = %s and document = %s and code = '' and digest <> %s
"""
# Those in use come last, and of these XForms, which say more than the app settings.
_OF_CODE = """
select document, source, definition::text, error, replaced_at from {schema}.form_definition where code = %s
order by replaced_at nulls last, document <> 'settings', read_at, source, document
"""
_APP_SETTINGS = """
select octet_length(forms::text), case when octet_length(forms::text) <= %(most)s then forms end
from (
    select doc #> '{{settings,forms}}' as forms from {schema}.{table} where _id = 'settings' and source = %(source)s
    union all
    select doc #> '{{settings,forms}}' from {schema}.couchdb_collision where _id = 'settings' and source = %(source)s
) as stored limit 1
"""


@dataclass(frozen=True)
class FormDocument:
    """A document that defines a form, or the app settings, which define many.

    :param code: of the form; empty for the app settings.
    :param digest: of its attachment; empty where it has none. Of the app settings their revision.
    :param attachment: name of the XForm.
    :param size: of the attachment in bytes, where CouchDB says it.
    """

    source: str
    id: str
    code: str
    rev: str
    digest: str
    title: str = ""
    labels: Mapping[str, str] | None = None
    attachment: str = ""
    size: int | None = None


@dataclass(frozen=True)
class StoredDefinition:
    """A definition that was read, or why it was not; ``replaced_at`` is None while it is in use."""

    document: str
    source: str
    definition: FormDefinition | None
    error: str | None
    replaced_at: datetime | None


class DefinitionTable:
    """The table ``form_definition``.

    :param names: schema and table of the documents.
    """

    def __init__(self, names: Names) -> None:
        self._names = names

    def look(self, cursor: Cursor) -> tuple[list[FormDocument], set[str]]:
        """Compares what documents say now with what was read.

        :return: documents that have to be read, and codes of forms of which another definition is in use since, as
            after a document was deleted, or went back to what it said before.
        """
        rows = self._names.execute(cursor, _KNOWN).fetchall()
        known = {tuple(row[:4]): row[4:] for row in rows}
        living = {(each.source, each.id): each for each in self._documents(cursor)}
        stale, changed = [], set()
        for each in living.values():
            in_use, again = known.get((each.source, each.id, each.code, each.digest), (False, True))
            if again or (not in_use and each.id == APP_SETTINGS):
                stale.append(each)
            elif not in_use:
                self._names.execute(cursor, _USE_AGAIN, (each.source, each.id, each.code, each.digest))
                changed |= {each.code, *self._replace(cursor, each.source, each.id, [(each.code, each.digest)])}
        in_use = {(source, document) for (source, document, _, _), (used, _) in known.items() if used}
        for source, document in in_use - living.keys():
            changed |= self._replace(cursor, source, document, [])
        return stale, changed - {""}

    def store(
        self, cursor: Cursor, document: FormDocument, definition: FormDefinition | None, error: str | None = None
    ) -> set[str]:
        """Notes what the XForm of a document says, or why it cannot be read; gives back the codes that it is about."""
        self._store(cursor, document, (document.code, document.digest), definition, error)
        replaced = self._replace(cursor, document.source, document.id, [(document.code, document.digest)])
        return {document.code, *replaced}

    def store_sms_forms(
        self, cursor: Cursor, document: FormDocument, forms: Mapping[str, FormDefinition], error: str | None = None
    ) -> set[str]:
        """The same for the forms of the app settings; where they cannot be read, those that they had stay."""
        now = {code: (hashlib.sha256(_encoded(form).encode()).hexdigest(), form) for code, form in forms.items()}
        self._store(cursor, document, ("", document.digest), None, error)
        self._names.execute(cursor, _FORGET, (document.source, document.id, document.digest))
        if error is not None:
            return set()
        known = self._names.execute(cursor, _KNOWN).fetchall()
        in_use = {(code, digest) for source, name, code, digest, used, _ in known
                  if used and (source, name) == (document.source, document.id)}  # fmt: skip
        changed = {code for code, (digest, _) in now.items() if (code, digest) not in in_use}
        for code in changed:
            digest, form = now[code]
            self._store(cursor, document, (code, digest), form, None)
        kept = [("", document.digest), *((code, digest) for code, (digest, _) in now.items())]
        changed |= self._replace(cursor, document.source, document.id, kept)
        return changed - {""}

    def app_settings(self, cursor: Cursor, source: str) -> tuple[int, Any]:
        """Size and content of ``settings.forms``; no content where it is too large."""
        row = self._names.execute(cursor, _APP_SETTINGS, {"source": source, "most": MOST_BYTES}).fetchone()
        return (row[0] or 0, row[1]) if row else (0, None)

    def of_code(self, cursor: Cursor, code: str) -> list[StoredDefinition]:
        """All of a form, in the order in which they were in use."""
        return [
            StoredDefinition(document, source, text and msgspec.json.decode(text, type=FormDefinition), error, replaced)
            for document, source, text, error, replaced in self._names.execute(cursor, _OF_CODE, (code,)).fetchall()
        ]

    def _documents(self, cursor: Cursor) -> Iterator[FormDocument]:
        found = self._names.execute(cursor, _DOCUMENTS, (LONGEST_ID,)).fetchall()
        for source, document, rev, internal, title, attachments in found:
            if document == APP_SETTINGS:
                yield FormDocument(source, document, "", rev or "", rev or "")
                continue
            code = internal or document.removeprefix(PREFIX)
            if not 0 < len(code) <= LONGEST_CODE:
                continue
            name, stub = _xform_of(attachments)
            titles = _titles(title)
            yield FormDocument(
                source=source,
                id=document,
                code=code,
                rev=rev or "",
                digest=str(stub.get("digest") or ""),
                title=next(iter(titles.values()), ""),
                labels=titles,
                attachment=name,
                size=stub["length"] if isinstance(stub.get("length"), int) else None,
            )

    def _store(
        self,
        cursor: Cursor,
        document: FormDocument,
        key: tuple[str, str],
        definition: FormDefinition | None,
        error: str | None,
    ) -> None:
        code, digest = key
        values = {
            "source": document.source,
            "document": document.id,
            "code": code,
            "digest": digest,
            "version": definition and definition.version,
            "definition": definition and _encoded(definition),
            "error": error,
        }
        self._names.execute(cursor, _STORE, values)

    def _replace(self, cursor: Cursor, source: str, document: str, now: Iterable[tuple[str, str]]) -> set[str]:
        listed = list(now)
        values = {
            "source": source,
            "document": document,
            "codes": [code for code, _ in listed],
            "digests": [digest for _, digest in listed],
        }
        return {code for (code,) in self._names.execute(cursor, _REPLACE, values).fetchall()}


def _encoded(definition: FormDefinition) -> str:
    return msgspec.json.encode(definition).decode()


def _xform_of(attachments: object) -> tuple[str, Mapping[str, Any]]:
    """Name and stub of the attachment that is the XForm; the app finds it in the same way.

    Source: https://github.com/medic/cht-core/blob/master/api/src/services/forms.js
    """
    stubs = attachments if isinstance(attachments, Mapping) else {}
    named = sorted(name for name in stubs if name.endswith(".xml") and name != "model.xml")
    name = "xml" if "xml" in stubs else next(iter(named), "")
    stub = stubs.get(name)
    return name, stub if isinstance(stub, Mapping) else {}


def _titles(title: object) -> dict[str, str]:
    """By language: a document has a text, or a list of texts with their languages."""
    if isinstance(title, str):
        return {"": title} if title else {}
    listed = [each for each in title if isinstance(each, Mapping)] if isinstance(title, list) else []
    return {
        str(each.get("locale") or ""): each["content"] for each in listed
        if isinstance(each.get("content"), str) and each["content"]
    }  # fmt: skip
