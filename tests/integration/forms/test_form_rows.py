"""Tables of random forms through rounds of new, edited and deleted reports: real dbt, each cell against the oracle."""

from __future__ import annotations

import json
import shutil
from contextlib import closing
from dataclasses import replace
from random import Random

import pytest

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.definition import FormField
from cht_sync.forms.merge import merge_definitions
from cht_sync.forms.package import forms_package
from cht_sync.forms.tables import FormChoices
from tests.integration.starter.starter_warehouse import DBT, Warehouse, make_project, set_environment
from tests.oracle.form_tables import Difference, compare_form, compare_rejects, compare_standard
from tests.oracle.forms import FormOracle
from tests.oracle.random_forms import Life, Taste, other_version, random_definition
from tests.servers import mine

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]
DATABASE = mine("form_rows")
CODES = ["plain", 'user"; drop table raw; --', "{{ 1 / 0 }}", "it's 😀", "C:a/b", "{% raw %}", "x" * 200, "order", "7"]
SELECT = ("--select", "+document_rejects", "+package:cht_forms")


class FormWarehouse(Warehouse):
    """A warehouse with the starter and the package of form tables beside it."""

    def deploy(self, forms, choices=FormChoices()):
        """Writes the package anew; names that columns had stay."""
        package = forms_package(forms, choices, ("document_rejects",))
        assert not package.refused
        folder = self.project.parent / "forms"
        shutil.rmtree(folder, ignore_errors=True)
        for path, text in package.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        if not self.project.exists():
            make_project(self.project, DBT / "starter", folder)
        self.manifest = None
        self.forms = [replace(form, columns=package.names[form.code]) for form in forms]
        return self.forms

    def write(self, documents):
        """Saves documents as a page of the feed."""
        at = self.stamp()
        for document in documents:
            self.save(document, at=at)

    def difference(self, living):
        """What the tables of all forms hold and should not, or the other way round."""
        found, documents = Difference(), [json.dumps(each) for each in living]
        with self.connection.cursor() as cursor:
            cursor.execute("set timezone to 'UTC'")
            for form in self.forms:
                found.add(compare_form(cursor, FormOracle(form.definition), form.columns, documents, self.schema))
                tables = [name for path, name in form.columns.items() if path[-1:] == ("*table",)]
                found.faults += compare_standard(cursor, form.columns["*table",], self.schema)
                found.faults += compare_rejects(cursor, tables, self.schema)
        return found


@pytest.fixture
def warehouse(postgres_server, tmp_path, monkeypatch):
    postgres_server.create_database(DATABASE)
    environment = set_environment(monkeypatch, postgres_server, POSTGRES_DB=DATABASE)
    made = FormWarehouse(postgres_server.dsn(DATABASE), tmp_path / "project", environment)
    with closing(made):
        made.create()
        yield made


def test_every_cell_and_every_reject_of_many_forms(warehouse):
    draw = Random(18)
    versions = {code: [random_definition(draw, code, Taste(10))] for code in CODES}
    versions["many"] = [random_definition(draw, "many", Taste(400))]
    for listed in list(versions.values())[::2]:
        listed.append(other_version(draw, listed[0]))
    life = Life(draw, versions)

    def deploy(names):
        forms = [CatalogueForm(code, "report", merge_definitions(listed)) for code, listed in versions.items()]
        warehouse.deploy([replace(form, columns=names.get(form.code, {})) for form in forms])

    def compare():
        found = warehouse.difference(life.living.values())
        assert not found.faults, str(found)
        return found

    deploy({})
    warehouse.write(life.round(12))
    warehouse.run(*SELECT)
    assert compare().rejects > 100
    warehouse.write(life.round(4))
    warehouse.run(*SELECT)
    compare()

    # New fields, of which reports say something already: the rest of the form is as it was.
    for listed in versions.values():
        more = (FormField(("new",), "date"), FormField(("of_a_group", "x"), "int"), FormField(("_",)))
        known = {path for each in listed for one in each.fields for path in (one.path, one.path[:1])}
        listed.append(
            replace(listed[-1], fields=(*listed[-1].fields, *(one for one in more if one.path[:1] not in known)))
        )
    deploy({form.code: form.columns for form in warehouse.forms})
    warehouse.write(life.round(2))
    warehouse.run(*SELECT)
    assert compare().filled > 1_000
