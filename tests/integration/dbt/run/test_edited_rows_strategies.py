"""What becomes of the rows below an edited one, by the strategy of the model below; and notes of earlier releases."""

from __future__ import annotations

import os
import subprocess

import pytest

from cht_sync.dbt.deploy.build import wrapper_files
from tests.dbt_in_process import dbtRunner
from tests.integration.dbt.run.conftest import PROFILES
from tests.integration.dbt.run.test_edited_rows import DBT

pytestmark = [pytest.mark.integration, pytest.mark.slow]
# One row for each tag of a contact; a size that is no number fails the model.
BELOW = """
select c.uuid, tag.value as tag, c.saved_timestamp, (raw.doc ->> 'size')::int as size
from {{ ref('contact') }} c
inner join {{ source('raw', 'couchdb') }} raw on raw._id = c.uuid
cross join lateral jsonb_array_elements_text(raw.doc -> 'tags') as tag (value)
{% if is_incremental() %}
where c.saved_timestamp > (select coalesce(max(saved_timestamp), '1990-01-01') from {{ this }})
{% endif %}
"""
CONFIGS = {
    "appended": "incremental_strategy='append'",
    "keyed": "unique_key=['tag', 'uuid']",
    "merged": "incremental_strategy='merge', unique_key=['tag', 'uuid']",
    "own": "incremental_strategy='mine'",
}
COLUMNS = """
    columns:
      - name: uuid
        data_type: string
        constraints: [{type: foreign_key, expression: "v1.contact (uuid) on delete cascade"}]
      - {name: tag, data_type: string}
      - {name: saved_timestamp, data_type: timestamp}
      - {name: size, data_type: integer}
"""
PROJECT = {
    "dbt_project.yml": "name: strategies\nversion: 1.0.0\nconfig-version: 2\nprofile: cht_sync\n"
    "models: {+on_schema_change: append_new_columns}\n",
    "macros/mine.sql": """
{% macro get_incremental_mine_sql(arguments) %}
  delete from {{ arguments['target_relation'] }} where uuid in (select uuid from {{ arguments['temp_relation'] }});
  {{ return(get_incremental_append_sql(arguments)) }}
{% endmacro %}
""",
    "models/contact.sql": """
{{ config(materialized='incremental', unique_key='uuid', post_hook="delete from {{ this }} where kind <> 'contact'") }}
select _id as uuid, saved_timestamp, coalesce(doc ->> 'type', '') as kind from {{ source('raw', 'couchdb') }}
{% if is_incremental() %}
where saved_timestamp > (select coalesce(max(saved_timestamp), '1990-01-01') from {{ this }})
{% endif %}
""",
    **{
        f"models/{name}.sql": f"{{{{ config(materialized='incremental', {config}) }}}}{BELOW}"
        for name, config in CONFIGS.items()
    },
    "models/whole.sql": "{{ config(materialized='table') }}" + BELOW,
    "models/models.yml": """
sources:
  - {name: raw, schema: v1, tables: [{name: couchdb}]}
models:
  - name: contact
    config: {contract: {enforced: true}}
    columns:
      - {name: uuid, data_type: string, constraints: [{type: primary_key}]}
      - {name: saved_timestamp, data_type: timestamp}
      - {name: kind, data_type: string}
"""
    + "".join(
        f"  - name: {name}\n    config: {{contract: {{enforced: true}}}}{COLUMNS.rstrip()}\n"
        for name in [*CONFIGS, "whole"]
    ),
}
BELOW_ALL = sorted([*CONFIGS, "whole"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, project = tmp_path_factory.mktemp("wrapped"), tmp_path_factory.mktemp("strategies")
    for name, text in PROJECT.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    for path, content in wrapper_files():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / "packages.yml").write_text(f"packages:\n  - local: {project}\n")
    options = ["--project-dir", str(folder), "--profiles-dir", str(PROFILES)]
    subprocess.run([*DBT, "deps", *options], env=os.environ, check=True, capture_output=True)
    return folder


class Life:
    def __init__(self, folder, store, database):
        self.folder, self.store, self.database = folder, store, database

    def save(self, **documents):
        for uuid, fields in documents.items():
            self.database.rows(
                "insert into v1.couchdb (saved_timestamp, _id, _deleted, source, doc) values"
                " (clock_timestamp() at time zone 'utc', %s, false, 'h/d', %s::text::jsonb) on conflict (_id) do update"
                " set saved_timestamp = excluded.saved_timestamp, doc = excluded.doc",
                uuid,
                fields,
            )

    def run(self, *arguments):
        where = ["--project-dir", str(self.folder), "--profiles-dir", str(PROFILES)]
        result = dbtRunner().invoke(["--quiet", "--log-level-file", "none", "run", *arguments, *where])
        return {one.node.name: str(one.status) for one in result.result.results}

    def tags(self, model):
        return sorted(self.database.rows(f"select uuid, tag from v1.{model}"))

    def notes(self):
        return sorted(self.database.rows("select child, child_column, key from v1.cht_edited_keys"))


@pytest.fixture
def life(folder, store, database):
    return Life(folder, store, database)


def contact(*tags, size=1):
    return f'{{"type": "contact", "tags": [{", ".join(f"{chr(34)}{tag}{chr(34)}" for tag in tags)}], "size": "{size}"}}'


def test_each_strategy_ends_as_with_dbt_alone(life, database):
    life.save(a=contact("x", "y"), b=contact("x"), c=contact("z"))
    assert set(life.run().values()) == {"success"}
    first = [("a", "x"), ("a", "y"), ("b", "x"), ("c", "z")]
    assert {model: life.tags(model) for model in BELOW_ALL} == dict.fromkeys(BELOW_ALL, first)
    database.rows("create table v1.of_people (uuid text references v1.contact (uuid) on delete cascade, note text)")
    database.rows("insert into v1.of_people values ('a', 'kept'), ('b', 'goes with its contact')")

    # All models below fail, while one contact was edited and another is none any more.
    life.save(a=contact("y"), b='{"type": "report", "tags": []}', bad=contact("x", size="large"))
    status = life.run()
    assert {name for name, how in status.items() if how == "error"} == set(BELOW_ALL)
    left = [("a", "x"), ("a", "y"), ("c", "z")]
    assert {model: life.tags(model) for model in BELOW_ALL} == {**dict.fromkeys(BELOW_ALL, left), "own": [("c", "z")]}
    assert life.notes() == [(model, "uuid", uuid) for model in ("appended", "keyed", "merged") for uuid in "ab"]
    assert database.rows("select * from v1.of_people") == [("a", "kept")]

    life.save(bad=contact("w"))
    assert set(life.run().values()) == {"success"}
    last = [("a", "y"), ("bad", "w"), ("c", "z")]
    assert {model: life.tags(model) for model in BELOW_ALL} == dict.fromkeys(BELOW_ALL, last)
    assert life.notes() == []


def test_what_was_built_anew_has_no_notes(life, database):
    life.save(a=contact("x"), b=contact("x"))
    life.run()
    life.save(a=contact("y"), bad=contact("x", size="large"))
    life.run()
    assert {child for child, _, _ in life.notes()} == {"appended", "keyed", "merged"}
    database.rows("drop table v1.appended")
    life.save(bad=contact("w"))
    assert set(life.run("--full-refresh", "--select", "keyed", "merged").values()) == {"success"}
    assert life.notes() == []
    life.run()
    last = [("a", "y"), ("b", "x"), ("bad", "w")]
    assert {model: life.tags(model) for model in BELOW_ALL} == dict.fromkeys(BELOW_ALL, last)


def test_notes_of_earlier_releases_are_taken_over(life, database):
    life.save(a=contact("x"), b=contact("x"))
    life.run()
    old = "(child oid not null, child_column text not null, key text not null, edited_in bigint not null)"
    database.rows(f"create table v1.cht_edited_rows {old}")
    database.rows("insert into v1.cht_edited_rows select 'v1.keyed'::regclass, 'uuid', 'a', txid_current()")
    # Written anew since, so not stale.
    database.rows("insert into v1.cht_edited_rows select 'v1.merged'::regclass, 'uuid', 'a', txid_current()")
    database.rows("update v1.merged set size = 2")
    # As it comes with a dump: its number means another transaction, its table another one.
    database.rows("insert into v1.cht_edited_rows values ('v1.whole'::regclass, 'uuid', 'b', 5)")
    life.save(c=contact("z"))
    life.run("--select", "contact")
    assert life.notes() == [("keyed", "uuid", "a")]
    assert database.value("select to_regclass('v1.cht_edited_rows')") is None
    life.run()
    assert life.tags("keyed") == [("b", "x"), ("c", "z")]
    assert life.tags("merged") == life.tags("whole") == [("a", "x"), ("b", "x"), ("c", "z")]
