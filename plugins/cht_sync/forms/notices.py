"""Form notices: what a deployment changes in the tables of forms, a sentence for each form."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.cells import kind_of
from cht_sync.forms.form_models import FormModels
from cht_sync.forms.model_yaml import NO_LONGER, REMOVED, plain_text
from cht_sync.forms.names import FORMS_PACKAGE
from cht_sync.forms.package import forms_package
from cht_sync.forms.tables import Column, FormTable, form_tables, table_names

# Of the names in one sentence; of a sentence.
MOST_NAMES, MOST_OF_NOTICE = 5, 1000


@dataclass(frozen=True, slots=True)
class FormNotice:
    """What changes for one form; names of fields and tables alone, never a value of a report."""

    code: str
    text: str


@dataclass(frozen=True, slots=True)
class _Model:
    """A model of a form as a manifest has it."""

    columns: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    description: str = ""


def form_notices(
    models: FormModels, unreadable: Iterable[CatalogueForm], before: Mapping[str, Any] | None, after: Mapping[str, Any]
) -> list[FormNotice]:
    """What changes from one version of the models to another, by the codes of the forms.

    :param models: forms with a table, as the newer version was made from them.
    :param unreadable: forms that would have one if their definition could be read.
    :param before: manifest of the older version; None where there was none.
    """
    old, new = _models(before), _models(after)
    others = {node["name"] for node in _nodes(after) if node.get("package_name") != FORMS_PACKAGE}
    names = table_names(models.forms)
    package = forms_package(models.forms, models.choices, others, models.relations)
    found = {form.code: plain_text(f"form {form.code}: no table, its definition cannot be read", MOST_OF_NOTICE)
             for form in unreadable}  # fmt: skip
    found |= {code: plain_text(f"form {code}: no table: {why}", MOST_OF_NOTICE)
              for code, why in package.refused.items()}  # fmt: skip
    for form in models.forms:
        if form.code in found or form.code in package.left:
            continue
        parts = list(_changes(form, form_tables(form, models.choices, names), old, new))
        if parts:
            version = f", version {form.versions[-1]}" if form.versions else ""
            found[form.code] = plain_text(f"form {form.code}{version}: {', '.join(parts)}", MOST_OF_NOTICE)
    return [FormNotice(code, text) for code, text in sorted(found.items())]


def _changes(
    form: CatalogueForm, tables: Sequence[FormTable], old: Mapping[str, _Model], new: Mapping[str, _Model]
) -> Iterator[str]:
    made = [table for table in tables if table.name in new]
    if made and not any(table.name in old for table in made):
        yield f"new, in {_named([table.name for table in made])}"
        return
    added: list[str] = []
    gone: list[str] = []
    retyped: list[str] = []
    for table in made:
        before = old.get(table.name, _Model()).columns
        columns = new[table.name].columns
        for column in table.columns:
            if column.name not in columns:
                continue
            known = before.get(column.name)
            if known is None:
                added.append(column.name)
                continue
            if column.field.path in form.gone and NO_LONGER not in (known.get("description") or ""):
                gone.append(column.name)
            kind = columns[column.name].get("data_type")
            if kind != known.get("data_type"):
                retyped.append(f"`{column.name}` is {kind} now{_share(form, column)}")
    if added:
        yield f"{_counted(added, 'new field')} ({_named(added)})"
    if gone:
        yield f"{_counted(gone, 'field')} no longer in the form ({_named(gone)})"
    yield from retyped[:MOST_NAMES]
    if (further := len(retyped) - MOST_NAMES) > 0:
        yield f"{further} more with another type"
    models = [old[table.name] for table in made if table.name in old]
    if form.removed_at and any(REMOVED not in model.description for model in models):
        yield "the form was removed, its tables stay"


def _share(form: CatalogueForm, column: Column) -> str:
    """How many of the values are not what the form declares, where that is why the column is text."""
    path = column.field.path
    filled, failing = form.filled.get(path, 0), form.failing.get(path, {}).get(kind_of(column.field.type), 0)
    if column.forced or not filled or not failing:
        return ""
    share = 100 * failing / filled
    percent = "less than 1" if share < 1 else f"{share:.0f}"
    return f", as {percent} % of its values are no {kind_of(column.field.type)}"


def _models(manifest: Mapping[str, Any] | None) -> dict[str, _Model]:
    return {
        node["name"]: _Model(node.get("columns") or {}, node.get("description") or "")
        for node in _nodes(manifest)
        if node.get("package_name") == FORMS_PACKAGE
    }


def _nodes(manifest: Mapping[str, Any] | None) -> Iterator[Mapping[str, Any]]:
    for node in (manifest or {}).get("nodes", {}).values():
        if node.get("resource_type") == "model":
            yield node


def _counted(names: Collection[str], what: str) -> str:
    return f"{len(names)} {what}" if len(names) == 1 else f"{len(names)} {what}s"


def _named(names: Sequence[str]) -> str:
    more = len(names) - MOST_NAMES
    return ", ".join(names[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
