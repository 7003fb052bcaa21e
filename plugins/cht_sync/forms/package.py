"""The dbt package of form tables, as files: what `cht_pipeline_deploy` puts beside the project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from cht_sync.errors import SettingsError
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.contact_form import ContactForm
from cht_sync.forms.definition import Path
from cht_sync.forms.model_sql import select_of
from cht_sync.forms.model_yaml import properties_of
from cht_sync.forms.names import FORMS_PACKAGE
from cht_sync.forms.rows import arrives_as, followed_model, rows_of
from cht_sync.forms.tables import TABLE_NAME, FormChoices, FormTable, form_tables, given_names, table_names
from cht_sync.settings.settings import REPOSITORY

_STARTER_MACROS = REPOSITORY / "include" / "dbt" / "starter" / "macros"
_OWN = REPOSITORY / "include" / "dbt" / "forms"
# Those by which the starter's models keep their promises; a package of its own has them also beside other projects.
_TAKEN = ("document", "keys", "progress", "rules", "safe_cast", "upsert")
_REJECTS = "document_rejects"
_NOT_INDEXED = {"uuid", "patient_id", "place_id", "form_version", "contact_uuid", "name"}
_RAW_OF_DBT = "\"{{ env_var('POSTGRES_SCHEMA', 'v1') }}\".\"{{ env_var('POSTGRES_TABLE', 'couchdb') }}\""
_NEW_OF_DBT = """{% if is_incremental() %}
  and FOLLOWED.saved_timestamp >= (select coalesce(max(saved_timestamp), '-infinity') from {{ this }})
  {% endif %}"""
# A document of another form by now, or with a shorter list, is not selected again; what is newest is read twice.
_FORGET = (
    "{% if is_incremental() %}delete from {{ this }} as old using {{ ref('FOLLOWED') }} as followed where"
    " followed.uuid = old.uuid and followed.saved_timestamp > (select max(saved_timestamp) from {{ this }})"
    "{% endif %}"
)


@dataclass(frozen=True)
class FormsPackage:
    """The package as it is to be.

    :param files: text by path within the package; empty where there is no form.
    :param names: for each form what the catalogue is to remember, see :func:`~cht_sync.forms.tables.given_names`.
    :param refused: for each form without tables the sentence why.
    :param left: codes of forms whose model the project has itself.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, Mapping[Path, str]] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    left: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        """A hash of what the package is; empty where there is none."""
        text = json.dumps(sorted(self.files.items()))
        return hashlib.sha256(text.encode()).hexdigest()[:16] if self.files else ""


def forms_package(
    forms: Sequence[CatalogueForm],
    choices: FormChoices,
    project_models: Collection[str] = (),
    relations: Collection[str] = (),
) -> FormsPackage:
    """The package of all forms.

    :param project_models: names of the models that the project has; a form whose model is among them is left to it.
    :param relations: names of what is in the schema of the models; what was not noted as a table of a form is no table
        of ours, and is not replaced.
    """
    names: dict[str, Mapping[Path, str]] = {}
    refused: dict[str, str] = {}
    left: list[str] = []
    files: dict[str, str] = {}
    taken = {name.lower() for name in project_models}
    all_names = table_names(forms)
    for form in forms:
        try:
            tables = form_tables(form, choices, all_names)
            _require_followed(form, project_models)
        except SettingsError as error:
            refused[form.code] = str(error)
            continue
        if tables[0].name in taken:
            left.append(form.code)
            continue
        if foreign := [table.name for table in tables if table.name in relations and not _is_noted(form, table)]:
            refused[form.code] = (
                f"form {form.code}: {foreign[0]} is there already and is no table of a form: give it another name, or"
                " leave the form out by CHT_FORMS."
            )
            continue
        if double := {table.name for table in tables} & taken:
            refused[form.code] = (
                f"form {form.code}: the table {sorted(double)[0]} is there already, of another form or model."
            )
            continue
        taken |= {table.name for table in tables}
        names[form.code] = given_names(tables)
        files |= model_files(tables)
    if files:
        files |= _package_files(_REJECTS not in project_models)
    return FormsPackage(files, names, refused, tuple(left))


def _is_noted(form: CatalogueForm, table: FormTable) -> bool:
    """Whether a table was the form's before."""
    return form.columns.get((*table.repeat, TABLE_NAME)) == table.name


def _require_followed(form: CatalogueForm, project_models: Collection[str]) -> None:
    if isinstance(form, ContactForm) and project_models and followed_model(form) not in project_models:
        raise SettingsError(
            f"form {form.code}: the project has no model {followed_model(form)}, whose rows it is about."
        )


def model_files(tables: Sequence[FormTable]) -> dict[str, str]:
    """The models of one form, each as SQL, and their properties as YAML."""
    files = {f"models/{table.name}.sql": model_text(table) for table in tables}
    models = [properties_of(table, _parent(table)) for table in tables]
    return {**files, f"models/{tables[0].name}.yml": _yaml({"version": 2, "models": models})}


def model_text(table: FormTable) -> str:
    """The SQL of one model of the package."""
    key = "'uuid'" if table.key == ("uuid",) else repr(list(table.key))
    model = followed_model(table.form)
    config = (
        "{{\n  config(\n"
        f"    unique_key={key},\n"
        f"    meta={{'follows': ['{model}'], 'form': {arrives_as(table.form)!r}}},\n"
        "    full_refresh=var('drop_and_rebuild', false),\n"
        f"    indexes=[{', '.join(_indexes(table))}]\n"
        "  )\n}}\n\n"
    )
    return config + _select(table, "{{ cht_forms.raw() }}", f"{{{{ cht_forms.and_new('{model}') }}}}")


def ejected_files(tables: Sequence[FormTable]) -> dict[str, str]:
    """The models of one form as plain dbt has them, for a project of the team's own: SQL and YAML by path.

    They need the model `data_record`, those of contacts `contact`, and nothing else of any project.
    """
    files = {}
    for table in tables:
        model = followed_model(table.form)
        forget = _FORGET.replace("FOLLOWED", model)
        config = (
            "{{\n  config(\n"
            "    materialized='incremental',\n"
            "    incremental_strategy='delete+insert',\n"
            "    unique_key='uuid',\n"
            "    on_schema_change='append_new_columns',\n"
            f"    pre_hook={json.dumps(forget)},\n"
            f"    indexes=[{', '.join(_indexes(table))}]\n"
            "  )\n}}\n\n"
        )
        files[f"models/{table.name}.sql"] = config + _select(table, _RAW_OF_DBT, _NEW_OF_DBT.replace("FOLLOWED", model))
    models = [properties_of(table, _parent(table)) for table in tables]
    return {**files, f"models/{tables[0].name}.yml": _yaml({"version": 2, "models": models})}


def _select(table: FormTable, raw: str, new: str) -> str:
    """The select of a model, with the table of raw documents and the condition of an incremental run as Jinja."""
    rows = rows_of(table, raw)
    return select_of(table, rows.source, rows.standard, f"{rows.condition}\n  {new}")


def _parent(table: FormTable) -> str:
    """The relation that a foreign key of a table names."""
    return f'"{{{{ target.schema }}}}".{followed_model(table.form)}'


def _indexes(table: FormTable) -> Iterable[str]:
    columns: tuple[str, ...] = ("saved_timestamp",)
    if not table.repeat:
        # Ids of people and places, and times; what the report is about is found by either of two names.
        columns = tuple(name for name in table.standard if name not in _NOT_INDEXED)
    return (f"{{'columns': ['{name}']}}" for name in columns)


def _package_files(with_rejects: bool) -> dict[str, str]:
    files = {f"macros/{path.name}": path.read_text() for path in sorted((_OWN / "macros").glob("*.sql"))}
    for name in _TAKEN:
        text = (_STARTER_MACROS / f"{name}.sql").read_text()
        files[f"macros/starter_{name}.sql"] = text.replace("cht_starter.", f"{FORMS_PACKAGE}.")
    files["dbt_project.yml"] = (_OWN / "dbt_project.yml").read_text()
    files["models/sources.yml"] = (_OWN / "sources.yml").read_text()
    if with_rejects:
        for path in sorted((_OWN / "rejects").iterdir()):
            files[f"models/{path.name}"] = path.read_text()
    return files


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
