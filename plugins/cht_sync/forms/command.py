"""The command ``forms``: list, show, eject."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

from cht_sync.errors import SettingsError
from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.cells import kind_of
from cht_sync.forms.contact_form import ContactForm
from cht_sync.forms.definition import FormField
from cht_sync.forms.package import FormsPackage, ejected_files
from cht_sync.forms.tables import TABLE_NAME, Column, form_tables, table_names
from cht_sync.forms.wanted import choices_of, known_forms, newest_notices, wanted_forms
from cht_sync.settings.settings import Settings

_NO_FORM = "The catalogue holds no form yet: the DAG cht_sync reads their definitions once it has copied them."


def list_forms(_parsed: Namespace) -> Iterator[str]:
    """A line for each form: code, reports, fields, versions, and what there is to know."""
    settings = Settings()
    forms = known_forms(settings)
    if not forms:
        yield _NO_FORM
    notices, package = newest_notices(settings), wanted_forms(settings).package
    rows = [("form", "reports", "fields", "table", "")]
    for form in forms:
        fields = str(len(form.definition.fields))
        said = [package.refused.get(form.code, ""), notices.get(form.code, "")]
        notes = [*_notes(form), *(one.removeprefix(f"form {form.code}").lstrip(":, ") for one in said if one)]
        rows.append((form.code, f"{form.reports:,}", fields, _table_of(form, package), "; ".join(notes)))
    yield from _aligned(rows if forms else [])


def show_form(parsed: Namespace) -> Iterator[str]:
    """The columns of the tables of one form, with what its reports have held, and the fields without a column."""
    settings = Settings()
    form = _form(settings, parsed.code)
    tables = form_tables(form, choices_of(settings), table_names(known_forms(settings)))
    counted = "contacts are not counted" if isinstance(form, ContactForm) else f"{form.reports:,} reports"
    yield f"{form.code}: {form.definition.title or 'no title'}; {counted}"
    yield from _notes(form)
    for table in tables:
        yield f"\n{table.name}"
        rows: list[tuple[str, ...]] = [("column", "type", "filled", "field", "")]
        rows += [(name, kind, "", "", "") for name, kind in table.standard.items()]
        rows += [_line(form, column) for column in table.columns]
        yield from _aligned(rows)
    shown = {column.field.path for table in tables for column in table.columns}
    left_out = [asked for asked in form.definition.fields if asked.path not in shown]
    if left_out:
        yield "\nwithout a column"
        yield from _aligned([("/".join(asked.path), _why(asked)) for asked in left_out])


def eject_form(parsed: Namespace) -> Iterator[str]:
    """Writes the models of a form as plain dbt SQL and YAML into a project, whose own they are from then on.

    :raises SettingsError: if there is no such form, the folder is no dbt project, or a file is there already.
    """
    settings, folder = Settings(), Path(parsed.to)
    if not (folder / "dbt_project.yml").is_file():
        raise SettingsError(f"--to {parsed.to!r} holds no dbt_project.yml: name the folder of your dbt project.")
    names = table_names(known_forms(settings))
    files = ejected_files(form_tables(_form(settings, parsed.code), choices_of(settings), names))
    there = [path for path in files if (folder / path).exists()]
    if there:
        raise SettingsError(f"{folder / there[0]} is there already: nothing was written; move it away first.")
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
        yield str(folder / path)
    yield "Deploy the project: these models are its own then, and no longer made from the form."


def _form(settings: Settings, code: str) -> CatalogueForm:
    forms = {form.code: form for form in known_forms(settings)}
    if code not in forms:
        # That which edits contacts is a part of that which creates them.
        of_type = code.removesuffix(":edit") + ":create"
        if of_type in forms and isinstance(forms[of_type], ContactForm):
            return forms[of_type]
        raise SettingsError(f"There is no form {code!r}: {', '.join(sorted(forms)) or _NO_FORM}")
    return forms[code]


def _table_of(form: CatalogueForm, package: FormsPackage) -> str:
    if names := package.names.get(form.code):
        return names[(TABLE_NAME,)]
    return "none" if form.code in package.refused else "none, by CHT_FORMS" if form.definition.fields else "none yet"


def _notes(form: CatalogueForm) -> Iterator[str]:
    if form.versions:
        yield f"{len(form.versions)} version{'s' if len(form.versions) > 1 else ''}"
    if form.error:
        yield f"cannot be read: {form.error}"
    if form.removed_at:
        yield f"removed on {form.removed_at:%Y-%m-%d}"
    if form.undeclared:
        yield f"{len(form.undeclared)} fields of reports are in no definition"


def _line(form: CatalogueForm, column: Column) -> tuple[str, ...]:
    path = column.field.path
    filled = f"{form.filled.get(path, 0) / form.reports:.0%}" if form.reports and not column.field.repeat else ""
    notes = []
    if day := form.gone.get(path):
        notes.append(f"not in the form since {day:%Y-%m-%d}")
    if path in form.undeclared:
        notes.append("in no definition")
    if failing := form.failing.get(path, {}).get(kind_of(column.field.type), 0):
        notes.append(f"declared {column.field.type}, {failing:,} values are none")
    return column.name, column.type, filled, "/".join(path), "; ".join(notes)


def _why(asked: FormField) -> str:
    return "a note" if asked.note else "left out by rule"


def _aligned(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
