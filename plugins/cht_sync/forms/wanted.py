"""Which forms get a table: those of the catalogue that the settings name."""

from __future__ import annotations

from fnmatch import fnmatchcase

from cht_sync.forms.catalogue import Catalogue
from cht_sync.forms.form_models import FormModels
from cht_sync.forms.tables import FormChoices
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings


def wanted_forms(settings: Settings) -> FormModels:
    """The models of the forms that the settings name, as the catalogue knows them now.

    :raises StoreError: if Postgres does not answer.
    """
    choices = FormChoices(tuple(settings.forms_exclude), settings.forms_types)
    if not settings.forms:
        return FormModels(choices=choices)
    known = Catalogue(postgres_connection(settings), settings.raw_table).forms()
    chosen = [each for each in known if any(fnmatchcase(each.code, glob) for glob in settings.forms)]
    return FormModels(chosen, choices)
