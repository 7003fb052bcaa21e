"""Which forms get a table: those of the catalogue that the settings name."""

from __future__ import annotations

from fnmatch import fnmatchcase

from cht_sync.forms.catalogue import Catalogue
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.form_models import FormModels
from cht_sync.forms.tables import FormChoices
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings


def wanted_forms(settings: Settings) -> FormModels:
    """The models of the forms that the settings name, as the catalogue knows them now.

    :raises StoreError: if Postgres does not answer.
    """
    choices = choices_of(settings)
    if not settings.forms:
        return FormModels(choices=choices)
    known = Catalogue(postgres_connection(settings), settings.raw_table).forms()
    return FormModels([form for form in known if has_table(form, settings)], choices)


def choices_of(settings: Settings) -> FormChoices:
    """What the settings say of the columns."""
    return FormChoices(tuple(settings.forms_exclude), settings.forms_types)


def has_table(form: CatalogueForm, settings: Settings) -> bool:
    """Whether the settings name a form; one that nothing is known of but its code has no table."""
    is_known = bool(form.definition.fields or form.reports)
    return is_known and any(fnmatchcase(form.code, glob) for glob in settings.forms)
