"""A dbt project with the flaws that projects in the field have, run as the tasks run it."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cht_sync.dbt.run.dbt_runner import DbtRunner
from cht_sync.dbt.run.model_watch import ModelWatch
from cht_sync.dbt.run.run_models import BatchedRun
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import Settings
from tests.integration.conftest import Database, page_of
from tests.servers import mine

PROFILES = Path(__file__).parents[4] / "include" / "dbt"
PROJECT = {
    "dbt_project.yml": """
name: flawed
version: 1.0.0
config-version: 2
profile: cht_sync
models: {+on_schema_change: append_new_columns}
""",
    "macros/newest.sql": """
{% macro newest() %}
  {% set found = run_query('select max(saved_timestamp)::text from ' ~ this).rows[0][0] %}
  {{ return("'" ~ (found or '1990-01-01') ~ "'::timestamp") }}
{% endmacro %}
""",
    "models/document_metadata.sql": """
{{ config(materialized='incremental', unique_key='uuid', post_hook='delete from {{ this }} where _deleted') }}
with found as (
  select _id as uuid, saved_timestamp, _deleted, doc->>'type' as doc_type
  from {{ source('raw', 'couchdb') }}
  {% if is_incremental() %} where saved_timestamp > {{ newest() }} {% endif %}
  {% if var('batch_size', none) %} order by saved_timestamp limit {{ var('batch_size') }} {% endif %}
)
select _id as uuid, saved_timestamp, _deleted, doc->>'type' as doc_type from {{ source('raw', 'couchdb') }}
where saved_timestamp = (select max(saved_timestamp) from found)
union select * from found
""",
    "models/contact.sql": """
{{ config(materialized='incremental', unique_key='uuid') }}
select m.uuid, m.saved_timestamp, raw.doc->>'name' as name,
  to_timestamp((nullif(raw.doc->>'reported_date', '')::bigint / 1000)::double precision) as reported
from {{ ref('document_metadata') }} m
inner join {{ source('raw', 'couchdb') }} raw on raw._id = m.uuid
where m.doc_type = 'contact' {% if is_incremental() %} and m.saved_timestamp >= {{ newest() }} {% endif %}
""",
    "models/person.sql": """
{{ config(materialized='incremental', unique_key='uuid') }}
select c.uuid, c.saved_timestamp from {{ ref('contact') }} c
{% if is_incremental() %} where c.saved_timestamp >= {{ newest() }} {% endif %}
""",
    "models/data_record.sql": """
{{ config(materialized='incremental', unique_key='uuid') }}
select uuid, saved_timestamp from {{ ref('document_metadata') }} m
where m.doc_type = 'data_record' {% if is_incremental() %} and m.saved_timestamp >= {{ newest() }} {% endif %}
""",
    "models/calendar.sql": "{{ config(materialized='table') }} select 1 as day",
    "models/models.yml": """
sources:
  - {name: raw, schema: "{{ env_var('POSTGRES_SCHEMA', 'v1') }}", tables: [{name: couchdb}]}
models:
  - name: document_metadata
    config: {contract: {enforced: true}}
    columns:
      - {name: uuid, data_type: string, constraints: [{type: unique}]}
      - {name: saved_timestamp, data_type: timestamp}
      - {name: _deleted, data_type: boolean}
      - {name: doc_type, data_type: string}
  - name: contact
    config: {contract: {enforced: true}}
    columns:
      - name: uuid
        data_type: string
        constraints:
          - {type: unique}
          - {type: foreign_key, expression: "v1.document_metadata (uuid) on delete cascade"}
      - {name: saved_timestamp, data_type: timestamp}
      - {name: name, data_type: string}
      - {name: reported, data_type: timestamp with time zone}
  - name: person
    config: {contract: {enforced: true}}
    columns:
      - name: uuid
        data_type: string
        constraints: [{type: foreign_key, expression: "v1.contact (uuid) on delete cascade"}]
      - {name: saved_timestamp, data_type: timestamp}
  - name: data_record
    config: {contract: {enforced: true}}
    columns:
      - name: uuid
        data_type: string
        constraints: [{type: foreign_key, expression: "v1.document_metadata (uuid) on delete cascade"}]
      - {name: saved_timestamp, data_type: timestamp}
""",
}


class Told:
    """Stands for the tasks of the models: what each was told."""

    def __init__(self):
        self.keep, self.status, self.kept = False, {}, {}

    def push_result(self, result, node):
        name = result.model.rpartition(".")[2]
        (self.kept if self.keep and result.status == "success" else self.status)[name] = result.status

    def push_kept(self):
        self.status |= self.kept
        self.kept = {}

    def push_not_run(self, models, why):
        self.status |= {name.rpartition(".")[2]: "held" for name in models}
        self.why = why


class Models:
    """The project on one database."""

    _parsed = None  # once for all tests: they share a database, whose name is in the manifest

    def __init__(self, folder, store, database):
        self._folder, self._store, self._database, self._since = folder, store, database, None
        store.claim("h/d")

    def save(self, *documents):
        seq = f"{int((self._since or '0').split('-')[0]) + 1}-x"
        self._store.save("h/d", page_of(*documents, last_seq=seq), self._since)
        self._since = seq

    def run(self, lift=False, budget=600, **variables):
        options = ["--project-dir", str(self._folder), "--profiles-dir", str(PROFILES), "--profile", "cht_sync"]
        options += ["--vars", str(variables)] if variables else []
        dbt = DbtRunner([sys.executable, "--quiet", "run", *options], dict(os.environ), str(self._folder))
        kind = type(self)
        if kind._parsed:
            dbt.take(kind._parsed)
        else:
            assert dbt.parse() is None
        settings, told = Settings(), Told()
        runs = ModelRuns(postgres_connection(settings), settings.raw_table, settings.dbt_schema)
        with closing(ModelWatch(settings, dbt.lineage, dbt.compiled, lift, told.push_result)) as watch:
            run = BatchedRun(dbt, watch, runs, told, lift=lift, budget=budget)
            told.result = run.execute()
        kind._parsed = dbt.handed_over()
        told.modelled_to, told.within_reach, told.newest = run.modelled_to, run.within_reach, runs.state().newest
        return told

    def held(self):
        return dict(self._database.rows("select name, held from v1.couchdb_model_result where held is not null"))

    def ids(self, model):
        return {uuid for (uuid,) in self._database.rows(f"select uuid from v1.{model}")}


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flawed")
    for name, text in PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="session")
def shared_database(postgres_server):
    name = mine("cht_flawed_models")
    postgres_server.create_database(name)
    return Database(postgres_server.dsn(name), name)


@pytest.fixture
def database(shared_database, postgres_server, monkeypatch):
    shared_database.rows("drop schema if exists v1 cascade")
    shared_database.name_it(postgres_server, monkeypatch)
    return shared_database


@pytest.fixture
def models(project, store, database, caplog):
    caplog.set_level(logging.INFO)
    return Models(project, store, database)
