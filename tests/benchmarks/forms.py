"""What tables of forms cost: the first build against one pass over the same fields, and a run where few forms arrived.

``BENCH_REPORTS`` names how many reports to make, of sixty forms with thirty fields each.
"""

from __future__ import annotations

import os
import statistics
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import patch

import psycopg2
from psycopg2.extensions import cursor as Cursor

from cht_sync.dbt.deploy.active_version import expected_version
from cht_sync.dbt.run.idle_forms import idle_forms
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.run.run_models import BatchedRun
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.forms.catalogue import Catalogue
from cht_sync.forms.definition import FormDefinition, FormField
from cht_sync.forms.definition_table import FormDocument
from cht_sync.postgres.query import Names
from cht_sync.settings.connections import postgres_connection
from cht_sync.store.document_store import DocumentStore
from include.demo.postgres import PostgresServer
from include.demo.servers import foreign
from tests.benchmarks.figures import Figure
from tests.integration.dbt.team import Team, Told

REPORTS = int(os.environ.get("BENCH_REPORTS", "100000"))
FORMS, GROUPS, ARRIVED, ROUNDS = 60, 5, 100, 3
KINDS = ("string", "int", "date", "select1", "decimal", "select")
_GROUP = """jsonb_build_object('field_0', 'some text ' || number, 'field_1', (number % 97)::text,
    'field_2', '2024-0' || (1 + number % 9) || '-1' || (number % 9), 'field_3', 'yes',
    'field_4', (number / 7.0)::numeric(10, 2)::text, 'field_5', 'fever bleeding other')"""
_REPORTS = f"""
insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc)
select clock_timestamp() at time zone 'utc', 'r' || number, false, 'bench/medic', jsonb_build_object(
    '_id', 'r' || number, '_rev', '1-abc', 'type', 'data_record', 'form', 'form_' || (number %% %s),
    'reported_date', 1600000000000 + number, 'contact', jsonb_build_object('_id', 'c', 'parent', jsonb_build_object('_id', 'p')),
    'fields', jsonb_build_object({", ".join(f"'group_{number}', {_GROUP}" for number in range(GROUPS)).replace("%", "%%")}))
from generate_series(%s, %s) as number
"""
_PASS = "select {} from v1.couchdb where doc ->> 'type' = 'data_record'"


def figures(folder: Path) -> list[Figure]:
    """Builds and runs the models with and without tables of forms, on two databases with the same reports.

    :param folder: for the server and the projects.
    """
    with PostgresServer(folder / "forms-postgres", settings={"synchronous_commit": "off"}) as postgres:
        plain = _Bench(folder, postgres, "none")
        formed = _Bench(folder, postgres, "all")
        build, one_pass = formed.first_build(), formed.one_pass()
        plain.first_build()
        rounds = [(each, plain.run(each), formed.run(each)) for each in range(ROUNDS)]
    without = statistics.median(each for _, each, _ in rounds)
    within = statistics.median(each for _, _, each in rounds)
    return [
        Figure(f"first build of {FORMS} forms, {REPORTS:,} reports", build, "s"),
        Figure("one pass over the same fields", one_pass, "s"),
        Figure("first build of forms against one pass", build / one_pass, most=3),
        Figure(f"model part with {ARRIVED} reports of 2 forms, without tables of forms", without, "s"),
        Figure("the same with them", within, "s"),
        Figure("with tables of forms against without", within / without, most=1.5),
    ]


class _Bench:
    def __init__(self, folder: Path, postgres: PostgresServer, forms: str) -> None:
        name = f"bench_forms_{forms}"
        postgres.create_database(name)
        self._dsn = postgres.dsn(name)
        self._environment = {
            **foreign(os.environ),
            "POSTGRES_HOST": postgres.host,
            "POSTGRES_PORT": str(postgres.port),
            "POSTGRES_USER": "postgres",
            "POSTGRES_PASSWORD": postgres.password,
            "POSTGRES_DB": name,
            "COUCHDB_URL": "http://127.0.0.1:9",
            "COUCHDB_DBS": "medic",
            "DBT_PACKAGE_HUB_URL": "http://127.0.0.1:9/",
            "CHT_PIPELINE_DIR": str(folder / name),
            "CHT_FORMS": "none",
        }
        self._forms = forms
        with self._settled():
            self._team = Team(folder / name / "project")
            raw = self._team.settings.raw_table
            with DocumentStore(postgres_connection(self._team.settings), raw) as store:
                store.prepare()
            with closing(psycopg2.connect(self._dsn)) as conn, conn, conn.cursor() as cursor:
                self._define(cursor, Names(raw.schema, raw.table))
                cursor.execute(_REPORTS, (FORMS, 1, REPORTS))
            self._team.deploy()
            self._models()

    def _settled(self) -> patch.dict[str, str]:
        return patch.dict(os.environ, self._environment, clear=True)

    @staticmethod
    def _define(cursor: Cursor, names: Names) -> None:
        catalogue = Catalogue(names)
        for number in range(FORMS):
            code = f"form_{number}"
            fields = [
                FormField((f"group_{group}", f"field_{place}"), kind)
                for group in range(GROUPS)
                for place, kind in enumerate(KINDS)
            ]
            document = FormDocument("bench/medic", f"form:{code}", code, "1-a", "digest", attachment="xml")
            cursor.execute(
                "insert into v1.couchdb values (clock_timestamp() at time zone 'utc', %s, false, 'bench/medic', %s)",
                (document.id, '{"type": "form", "_attachments": {"xml": {"digest": "digest", "stub": true}}}'),
            )
            catalogue.rebuild(
                cursor, catalogue.definitions.store(cursor, document, FormDefinition(code, code, "1", tuple(fields)))
            )

    def first_build(self) -> float:
        """Seconds of the deployment that makes the tables, counting of reports included."""
        self._environment["CHT_FORMS"] = self._forms
        with self._settled():
            began = time.monotonic()
            self._team.deploy()
            took = time.monotonic() - began
            self._models()
            self._models()
        return took

    def one_pass(self) -> float:
        """Seconds of one statement that reads each field of each report once, as a model by hand would."""
        paths = [f"fields,group_{group},field_{place}" for group in range(GROUPS) for place in range(len(KINDS))]
        counted = ", ".join(f"count(doc #>> '{{{path}}}')" for path in paths)
        with closing(psycopg2.connect(self._dsn)) as conn, conn, conn.cursor() as cursor:
            began = time.monotonic()
            cursor.execute(_PASS.format(counted))
            return time.monotonic() - began

    def run(self, number: int) -> float:
        """Seconds of the models after some reports of two forms have arrived."""
        first = REPORTS + 1 + number * ARRIVED * FORMS
        with self._settled():
            with closing(psycopg2.connect(self._dsn)) as conn, conn, conn.cursor() as cursor:
                cursor.execute(
                    _REPORTS.replace("number %% %s", "number %% 2 + 0 * %s"), (1, first, first + ARRIVED - 1)
                )
            return self._models()

    def _models(self) -> float:
        settings, told = self._team.settings, Told()
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        began = time.monotonic()
        newest = runs.state().newest
        dbt = self._team.dbt()
        with closing(ModelWatch(settings, dbt.lineage, dbt.compiled, False, told.push_result)) as watch:
            version = expected_version(settings)
            BatchedRun(dbt, watch, runs, told, idle=lambda: idle_forms(settings, dbt.lineage.forms, version)).execute()
        dbt.close()
        took = time.monotonic() - began
        runs.record(newest or datetime.now(UTC), version)
        return took
