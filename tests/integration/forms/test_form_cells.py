"""The SQL of form tables on random forms and reports, each cell and reject against the oracle: without dbt."""

from __future__ import annotations

import json
from contextlib import closing
from random import Random

import jinja2
import psycopg2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extras import execute_values

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.merge import merge_definitions
from cht_sync.forms.package import ejected_files
from cht_sync.forms.tables import FormChoices, form_tables, given_names
from tests.oracle.form_tables import compare_form
from tests.oracle.forms import TYPES, FormOracle
from tests.oracle.random_forms import Taste, other_version, random_definition, random_report, wide_definition
from tests.servers import mine

pytestmark = pytest.mark.integration
TABLES = """
create schema v1;
create table v1.couchdb (saved_timestamp timestamp, _id varchar primary key, _deleted boolean, source varchar, doc jsonb);
create table v1.data_record (
    uuid text primary key, saved_timestamp timestamp, reported timestamptz, form text, contact_uuid text, parent_uuid text,
    patient_id text, place_id text
)
"""


@pytest.fixture(scope="module")
def connection(postgres_server):
    name = mine("form_cells")
    postgres_server.create_database(name)
    with closing(psycopg2.connect(postgres_server.dsn(name))) as conn:
        with conn, conn.cursor() as cursor:
            cursor.execute(TABLES)
        yield conn


def rendered(text):
    """A model as dbt would run it for the first time."""
    names = {"config": lambda **given: "", "ref": "v1.{}".format, "is_incremental": lambda: False}
    return (
        jinja2.Environment(autoescape=False)
        .from_string(text)
        .render(env_var=lambda name, default: default, this="", **names)
    )


def difference(connection, form, reports, kinds=None, exclude=()):
    """Has the tables of a form made of reports, and compares them; nothing of it stays."""
    types = {"/".join((form.code, *path)): kind for path, kind in (kinds or {}).items()}
    tables = form_tables(form, FormChoices(tuple(exclude), types))
    oracle = FormOracle(form.definition, kinds, exclude)
    documents = [json.dumps(each) for each in reports]
    try:
        with connection.cursor() as cursor:
            rows = [(each["_id"], text) for each, text in zip(reports, documents, strict=True)]
            execute_values(cursor, "insert into v1.couchdb (_id, doc) values %s", rows)
            cursor.execute(
                "insert into v1.data_record (uuid, form) select _id, doc ->> 'form' from v1.couchdb"
                " where doc ->> 'type' = 'data_record' and jsonb_typeof(doc -> 'form') in ('string', 'number')"
            )
            files = ejected_files(tables)
            for table in tables:
                cursor.execute(f'create table v1."{table.name}" as {rendered(files[f"models/{table.name}.sql"])}')
            return compare_form(cursor, oracle, given_names(tables), documents, "v1")
    finally:
        connection.rollback()


@given(st.randoms(use_true_random=False), st.sampled_from(["f", 'user"; drop table', "{{ 1 }}", "数据", "12"]))
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_every_value_is_in_a_cell_or_rejected(connection, draw, code):
    versions = [random_definition(draw, code, Taste(8))]
    if draw.random() < 0.4:
        versions.append(other_version(draw, versions[0], Taste(8)))
    merged = merge_definitions(versions)
    # A wish of the settings; a path with an asterisk would wish for others as well.
    plain = [each.path for each in merged.fields if not set("*?[").intersection("/".join(each.path))]
    kinds = {path: draw.choice(list(TYPES)) for path in plain if draw.random() < 0.1}
    exclude = draw.choice(((), (), ("a/*", "b/*")))
    reports = [random_report(draw, draw.choice(versions), f"r{number}") for number in range(draw.randint(1, 8))]
    form = CatalogueForm(code, "report", merged)
    found = difference(connection, form, reports, kinds, exclude)
    assert not found.faults, str(found)


def test_a_row_that_is_too_long_says_what_is_left_out(connection):
    draw = Random(7)
    form = CatalogueForm("wide", "report", wide_definition(draw, "wide", 1_385))
    reports = [random_report(draw, form.definition, f"r{number}", odd) for number, odd in enumerate((0, 0, 1))]
    for number, text in enumerate(("x", "y" * 24, "z" * 40, "1", "2024-01-01")):
        said = {each.path[1]: text for each in form.definition.fields}
        reports.append({"_id": f"w{number}", "type": "data_record", "form": "wide", "fields": {"g": said}})
    found = difference(connection, form, reports)
    assert not found.faults, str(found)
    assert found.filled > 1_500
