"""Hooks, macros and models that name tables in use, in projects that are deployed while documents wait."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest
from psycopg2.extras import Json

from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(600)]

RAW = "{{ env_var('POSTGRES_SCHEMA') }}.{{ env_var('POSTGRES_TABLE') }}"
NEW = """
where raw.saved_timestamp > (select coalesce(max(saved_timestamp), '1990-01-01') from {{ this }})
"""
# What hooks do once: where the table is made, as dbt alone makes it in a full refresh.
ONCE = """
{% macro once(name) %}{% if not is_incremental() %}
  alter table {{ this }} add constraint to_root foreign key (uuid)
    references {{ env_var('POSTGRES_SCHEMA') }}.root (uuid) on delete cascade;
  do $$ begin
    execute 'create index by_title on {{ env_var("POSTGRES_SCHEMA") }}.a_child (' || 'title)';
    if not exists (select from pg_constraint where conrelid = 'v1.a_child'::regclass and conname = 'titled') then
      alter table v1.a_child add constraint titled check (title <> '');
    end if;
  end $$;
  drop view if exists reporting.titles;
  create view reporting.titles as select uuid, EDITION from {{ this }};
  create or replace function reporting.children() returns bigint language sql as 'select count(*) from v1.a_child';
  create or replace function reporting.newest() returns text language sql as $f$ select max(EDITION) from v1.a_child; $f$;
  grant select on {{ this }} to public;
  comment on column v1.a_child.uuid is 'of v1.a_child; and "v1".root';
  create trigger noted after delete on {{ target.schema }}.a_child for each row execute function reporting.note();
  alter table reporting.about drop constraint if exists about_root;
  alter table reporting.about add constraint about_root foreign key (uuid) references v1.root (uuid) not valid
{% endif %}{% endmacro %}
"""
FILES = {
    "models/root.sql": (
        "{{ config(materialized='incremental', unique_key='uuid', indexes=[{'columns': ['uuid'], 'unique': true}]) }}"
        f" select _id as uuid, saved_timestamp from {RAW} as raw {{% if is_incremental() %}}{NEW}{{% endif %}}"
    ),
    # Before root by its name; no ref() tells the order.
    "models/a_child.sql": (
        "{{ config(materialized='incremental', unique_key='uuid', post_hook='{{ once() }}') }}"
        f" select _id as uuid, saved_timestamp, doc ->> 'name' as title, 'v1.root' as said from {RAW} as raw"
        f" {{% if is_incremental() %}}{NEW}{{% endif %}}"
    ),
    "models/by_name.sql": "select r.uuid from v1.root as r join {{ env_var('POSTGRES_SCHEMA') }}.a_child using (uuid)",
    "macros/once.sql": ONCE.replace("EDITION", "title"),
}
NEWER = {
    "models/a_child.sql": FILES["models/a_child.sql"].replace("as title", "as title, 'second' as edition"),
    "models/root.sql": FILES["models/root.sql"].replace("_id as uuid", "_id as uuid, true as again"),
    "macros/once.sql": ONCE.replace("EDITION", "edition"),
}
BROKEN = {"macros/once.sql": ONCE.replace("EDITION", "edition").replace("reporting.titles as", "nowhere.titles as")}


def save(database, *names):
    with closing(psycopg2.connect(database.dsn)) as conn, conn, conn.cursor() as cursor:
        for name in names:
            cursor.execute(
                "insert into v1.couchdb values (clock_timestamp() at time zone 'utc', %s, false, 'h/medic', %s)",
                (name, Json({"name": name.upper()})),
            )


def seen(database):
    return {
        "titles": database.rows("select * from reporting.titles order by 1"),
        "children": database.value("select reporting.children()"),
        "newest": database.value("select reporting.newest()"),
        "by_name": database.rows("select * from v1.by_name order by 1"),
        "keys": database.rows(
            "select conrelid::regclass::text, conname::text, confrelid::regclass::text from pg_constraint"
            " where contype in ('f', 'c') and connamespace = any (array['v1', 'reporting']::regnamespace[])"
            " and conname not like 'couchdb%' and conrelid::regclass::text !~ 'couchdb|not_null' order by 1, 2"
        ),
        "index": database.rows("select schemaname::text from pg_indexes where indexname = 'by_title'"),
        "trigger": database.rows("select tgrelid::regclass::text from pg_trigger where tgname = 'noted'"),
        "public": database.value("select has_table_privilege('public', 'v1.a_child', 'select')"),
        "comment": database.value("select col_description('v1.a_child'::regclass, 1)"),
        "said": database.rows("select distinct said from v1.a_child"),
    }


def test_what_hooks_do_by_name_holds_after_a_rebuild_and_is_as_it_was_after_one_that_failed(team, database):
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
    database.rows(
        "create schema reporting; create table reporting.about (uuid text);"
        "create function reporting.note() returns trigger language plpgsql as 'begin return null; end'"
    )
    save(database, "ada", "bea")
    team.write(FILES)
    assert team.deploy()
    # Without ref() dbt does not know that root comes first.
    assert team.run().status["root"] == "success"
    assert team.run().result.success
    before = seen(database)
    assert before["titles"] == [("ada", "ADA"), ("bea", "BEA")]
    save(database, "cyd")

    team.write({**NEWER, **BROKEN})
    with pytest.raises(RebuildError, match=r"A hook or macro of model a_child cannot do .*create view nowhere.titles"):
        team.deploy()
    assert seen(database) == before

    team.write(NEWER)
    assert team.deploy()
    assert seen(database) == {
        **before,
        "titles": [("ada", "second"), ("bea", "second"), ("cyd", "second")],
        "children": 3,
        "newest": "second",
        "by_name": [("ada",), ("bea",), ("cyd",)],
    }
    assert before["keys"] == [
        ("reporting.about", "about_root", "v1.root"),
        ("v1.a_child", "titled", "-"),
        ("v1.a_child", "to_root", "v1.root"),
    ]
    assert (before["index"], before["trigger"], before["public"]) == ([("v1",)], [("v1.a_child",)], True)
    assert team.run().result.success
    assert not database.rows("select from pg_class where relnamespace = 'v1__next'::regnamespace")
