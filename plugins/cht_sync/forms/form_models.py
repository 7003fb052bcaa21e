"""The models of forms that a version of the dbt project is built with."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.definition import Path as FieldPath
from cht_sync.forms.package import FormsPackage, forms_package
from cht_sync.forms.tables import FormChoices

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FormModels:
    """Forms that get a table each, as the catalogue knows them.

    :param relations: names of what is in the schema of the models.
    """

    forms: Sequence[CatalogueForm] = ()
    choices: FormChoices = field(default_factory=FormChoices)
    relations: frozenset[str] = frozenset()

    @cached_property
    def package(self) -> FormsPackage:
        """The package as it is beside a project that has no such models."""
        return forms_package(self.forms, self.choices, relations=self.relations)

    @property
    def content(self) -> str:
        """A hash that differs where a model would; empty where there is none."""
        return self.package.content

    @property
    def names(self) -> Mapping[str, Mapping[FieldPath, str]]:
        """Names of tables and columns that the catalogue is to remember, by code of the form."""
        return self.package.names

    def write(self, folder: Path, project_models: Collection[str]) -> None:
        """Writes the package into a folder, save forms whose model the project has itself; nothing for no form."""
        made = forms_package(self.forms, self.choices, project_models, self.relations)
        for reason in made.refused.values():
            log.warning("No table: %s", reason)
        if made.left:
            log.info("The project has models of its own for these forms: %s.", ", ".join(made.left))
        for path, text in made.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
