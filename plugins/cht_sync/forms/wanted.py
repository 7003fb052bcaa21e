"""Which forms get a table: those of the catalogue that the settings name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from fnmatch import fnmatchcase

from cht_sync.forms.catalogue import Catalogue
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.contact_form import ContactForm, with_contact_forms
from cht_sync.forms.form_models import FormModels
from cht_sync.forms.hierarchy import read_hierarchy
from cht_sync.forms.keep import keep_up_to_date
from cht_sync.forms.notice_table import NoticeTable
from cht_sync.forms.notices import FormNotice
from cht_sync.forms.tables import FormChoices
from cht_sync.postgres.lookups import relation_exists
from cht_sync.postgres.query import Names
from cht_sync.postgres.transaction import transaction
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings

log = logging.getLogger(__name__)
# Of a deployment: what the runs of the copy have left, at once.
DEFINITIONS_S, COUNT_S = 300.0, 6 * 3600.0
TOLERANCE_S = 60.0
_RELATIONS = """
select c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
where n.nspname = %s and (starts_with(c.relname::text, 'form_') or starts_with(c.relname::text, 'contact_'))
    and c.relkind <> 'i'
"""


def wanted_forms(settings: Settings) -> FormModels:
    """The models of the forms that the settings name, as the catalogue knows them now.

    :raises StoreError: if Postgres does not answer.
    """
    choices = choices_of(settings)
    if not settings.forms:
        return FormModels(choices=choices)
    forms = [form for form in known_forms(settings) if has_table(form, settings)]
    return FormModels(forms, choices, _relations(settings) if forms else frozenset())


def unreadable_forms(settings: Settings) -> list[CatalogueForm]:
    """Forms that the settings name and that have no table, since nothing is known of them but an error."""
    if not settings.forms:
        return []
    named = (form for form in known_forms(settings) if _is_named(form, settings))
    return [form for form in named if form.error and not has_table(form, settings)]


def note_changes(settings: Settings, deployment: str, notices: Sequence[FormNotice]) -> None:
    """Remembers form notices of a deployment.

    :raises StoreError: if Postgres does not answer.
    """
    if notices:
        with transaction(postgres_connection(settings), "cht_sync forms", "note what changed in forms") as cursor:
            NoticeTable(settings.raw_table.schema).add(cursor, deployment, notices)


def newest_notices(settings: Settings) -> dict[str, str]:
    """The newest form notice of each form that has one."""
    schema = settings.raw_table.schema
    with transaction(postgres_connection(settings), "cht_sync forms", "read what changed in forms") as cursor:
        return NoticeTable(schema).newest(cursor) if relation_exists(cursor, schema, "form_notice") else {}


def prepared_forms(settings: Settings) -> FormModels:
    """The same once all reports are counted, so that a column has a type that takes the values of all of them.

    Names of tables and columns are noted, to stay as they are. A CouchDB that does not answer has the definitions that
    were read before.

    :raises StoreError: if Postgres does not answer.
    """
    if settings.forms and _has_catalogue(settings):
        done = keep_up_to_date(settings, DEFINITIONS_S, COUNT_S, TOLERANCE_S)
        if not all(done.values()):
            log.warning("Not all definitions and reports are read: the next deployment goes on.")
    found = wanted_forms(settings)
    if found.names:
        with transaction(postgres_connection(settings), "cht_sync forms", "note the names of columns") as cursor:
            catalogue = Catalogue(_names(settings))
            for code, columns in found.names.items():
                catalogue.save_columns(cursor, code, columns)
    return found


def _relations(settings: Settings) -> frozenset[str]:
    """Names of what may stand where a table of a form is to be."""
    with transaction(
        postgres_connection(settings), "cht_sync forms", "look for tables called as those of forms"
    ) as cursor:
        cursor.execute(_RELATIONS, (settings.dbt_schema,))
        return frozenset(name for (name,) in cursor.fetchall())


def known_forms(settings: Settings) -> list[CatalogueForm]:
    """All forms of the catalogue, those of one type of contacts as one; none where nothing was ever copied."""
    with transaction(postgres_connection(settings), "cht_sync forms", "read the catalogue of forms") as cursor:
        if not relation_exists(cursor, settings.raw_table.schema, "form"):
            return []
        forms = Catalogue(_names(settings)).read(cursor)
        return with_contact_forms(forms, read_hierarchy(cursor, _names(settings)))


def choices_of(settings: Settings) -> FormChoices:
    """What the settings say of the columns."""
    return FormChoices(tuple(settings.forms_exclude), settings.forms_types)


def has_table(form: CatalogueForm, settings: Settings) -> bool:
    """Whether the settings name a form; one that nothing is known of but its code has no table."""
    is_known = bool(form.definition.fields or form.reports) or isinstance(form, ContactForm)
    return is_known and _is_named(form, settings)


def _is_named(form: CatalogueForm, settings: Settings) -> bool:
    return any(fnmatchcase(form.code, glob) for glob in settings.forms)


def _has_catalogue(settings: Settings) -> bool:
    with transaction(postgres_connection(settings), "cht_sync forms", "look for the catalogue of forms") as cursor:
        return relation_exists(cursor, settings.raw_table.schema, "form")


def _names(settings: Settings) -> Names:
    return Names(settings.raw_table.schema, settings.raw_table.table)
