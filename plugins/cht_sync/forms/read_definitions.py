"""Reads the definitions of forms that are new or have changed, from CouchDB and from the copy of the app settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from psycopg2.extensions import cursor as Cursor

from cht_sync.couchdb.hook import CouchDBHook
from cht_sync.couchdb.request import PageTooLargeError
from cht_sync.couchdb.sources import Source
from cht_sync.errors import CouchDBError, NotHandedOutError, RequestRefusedError, SettingsError
from cht_sync.forms.catalogue import Catalogue
from cht_sync.forms.definition import FormDefinition
from cht_sync.forms.definition_table import APP_SETTINGS, FormDocument
from cht_sync.forms.sms_form import read_sms_forms
from cht_sync.forms.xform import MOST_BYTES, FormDefinitionError, read_xform
from cht_sync.postgres.query import Names
from cht_sync.postgres.session import PatientSession

log = logging.getLogger(__name__)
MOST_DOCUMENTS = 200
ANSWER_S = 10.0
TOO_LARGE = f"it has more than {MOST_BYTES} bytes"


class DefinitionReader:
    """Reads what is new into the catalogue.

    :param session: of the role that owns the catalogue.
    :param sources: that may be asked; what others define is left as it is.
    """

    def __init__(
        self,
        session: PatientSession,
        names: Names,
        sources: Iterable[Source],
        hook_of: Callable[[str], CouchDBHook] = CouchDBHook,
    ) -> None:
        self._session = session
        self._catalogue = Catalogue(names)
        self._sources = {each["source"]: each for each in sources}
        self._hook_of = hook_of
        self._hooks: dict[str, CouchDBHook] = {}
        self._silent: set[str] = set()

    def read(self, until: float, most: int = MOST_DOCUMENTS) -> bool:
        """Reads definitions that nobody has read; whether none is left that can be had.

        :param until: ``time.monotonic()`` after which no further one is asked for.
        :param most: how many at most.
        """
        with self._session.transaction("look for changed forms") as cursor:
            stale, changed = self._catalogue.definitions.look(cursor)
            self._catalogue.rebuild(cursor, changed)
        for number, document in enumerate(stale):
            if number >= most or time.monotonic() > until:
                return False
            self._read(document)
        return not self._silent

    def _read(self, document: FormDocument) -> None:
        if document.id == APP_SETTINGS:
            self._store(lambda cursor: self._app_settings(cursor, document))
            return
        if document.source in self._silent or document.source not in self._sources:
            return
        try:
            definition, error = self._definition(document), None
        except FormDefinitionError as said:
            definition, error = None, str(said)
        except (CouchDBError, SettingsError) as trouble:
            self._silent.add(document.source)
            log.warning("%s: forms cannot be read now: %s", document.source, trouble)
            return
        if error:
            log.warning("%s: the XForm of form %s cannot be read: %s.", document.source, document.code, error)
        self._store(lambda cursor: self._catalogue.definitions.store(cursor, document, definition, error))

    def _store(self, once: Callable[[Cursor], set[str]]) -> None:
        with self._session.transaction("note the definition of a form") as cursor:
            self._catalogue.rebuild(cursor, once(cursor))

    def _definition(self, document: FormDocument) -> FormDefinition:
        if not document.attachment:
            raise FormDefinitionError("its document has no XForm as attachment")
        if document.size is not None and document.size > MOST_BYTES:
            raise FormDefinitionError(TOO_LARGE)
        body = self._attachment(document)
        if document.size is not None and len(body) != document.size:
            raise CouchDBError(f"{len(body)} bytes came for form {document.code}, which has {document.size}.")
        try:
            definition = read_xform(document.code, bytes(body))
        except (RecursionError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise FormDefinitionError(f"it is not built as an XForm is ({type(error).__name__})") from None
        labels = document.labels or definition.labels
        return replace(definition, title=document.title or definition.title, labels=labels)

    def _attachment(self, document: FormDocument) -> bytes | bytearray:
        source = self._sources[document.source]
        try:
            return self._hook(source["couchdb_conn_id"]).attachment(
                source["database"], (document.id, document.rev), document.attachment, MOST_BYTES, ANSWER_S
            )
        except PageTooLargeError:
            raise FormDefinitionError(TOO_LARGE) from None
        except RequestRefusedError as error:
            # What is true of the whole server is for the copy to tell.
            if error.status in {401, 403}:
                raise
            raise FormDefinitionError(f"CouchDB refuses it with {error.status}") from None
        except NotHandedOutError:
            raise FormDefinitionError("no address leads to it") from None

    def _hook(self, conn_id: str) -> CouchDBHook:
        if conn_id not in self._hooks:
            self._hooks[conn_id] = self._hook_of(conn_id)
        return self._hooks[conn_id]

    def _app_settings(self, cursor: Cursor, document: FormDocument) -> set[str]:
        size, forms = self._catalogue.definitions.app_settings(cursor, document.source)
        error = TOO_LARGE if size > MOST_BYTES else None
        if error:
            log.warning("%s: the forms of the app settings cannot be read: %s.", document.source, error)
        read = read_sms_forms({"forms": forms})
        return self._catalogue.definitions.store_sms_forms(cursor, document, read, error)
