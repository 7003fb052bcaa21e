import re
from hashlib import sha256

import psycopg2
import pytest
from psycopg2 import sql

from cht_sync.errors import SettingsError, StoreError
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of
from tests.servers import mine

pytestmark = pytest.mark.integration

CHT_SYNC_2 = """
create schema v1;
create table v1.couchdb (saved_timestamp timestamp, _id varchar primary key, _deleted boolean, source varchar, doc jsonb);
create index _deleted on v1.couchdb (_deleted);
create index saved_timestamp on v1.couchdb (saved_timestamp);
create index source on v1.couchdb (source);
create table v1.couchdb_progress (seq varchar, pending integer, updated_at timestamptz, source varchar primary key);
insert into v1.couchdb values ('2024-03-01 10:00:00.123', 'old', false, 'couch/medic', '{"_id": "old", "_rev": "1-a"}');
insert into v1.couchdb_progress values ('77-g1AAAA', 12, now(), 'couch/medic'), ('0', null, now(), 'couch/new');
"""


# The tables of CHT Sync 1.0 to 1.3, as its setup.js and dbt-run.py make them.
CHT_SYNC_1 = """
create schema v1;
create table v1.couchdb (saved_timestamp timestamp, _id varchar primary key, _deleted boolean, doc jsonb);
create index _deleted on v1.couchdb (_deleted);
create index saved_timestamp on v1.couchdb (saved_timestamp);
create table v1.couchdb_progress (seq varchar, pending integer, updated_at timestamptz, source varchar primary key);
create table v1._dataemon (inserted_on timestamp default now(), packages jsonb, manifest jsonb);
insert into v1.couchdb values ('2024-03-01 10:00:00.123', 'old', false, '{"_id": "old", "_rev": "1-x"}'),
    ('2024-03-01 10:00:00.123', 'other', false, '{"_id": "other", "_rev": "1-x"}');
insert into v1.couchdb_progress values ('77-g1AAAA', 12, now(), 'couch/medic');
"""
# What the migrations of couch2pg 0.5 to 0.7 leave, which medic-couch2pg and cht-couch2pg 3.x run.
COUCH2PG_3 = """
create table couchdb (doc jsonb);
create unique index couchdb_doc_uuid on couchdb ((doc->>'_id'));
create index couchdb_doc_type on couchdb ((doc->>'type'));
create table couchdb_progress (seq varchar, source varchar not null);
create unique index couchdb_progress_source on couchdb_progress (source);
create table couchdb_users_meta (doc jsonb);
insert into couchdb values ('{"_id": "a", "_rev": "1-x"}');
insert into couchdb_progress values ('77-g1AAAA', 'couch:5984/medic');
"""


def prepare(raw=RawTable("v1", "couchdb")):
    with DocumentStore(postgres_connection(), raw, tolerance=0.3) as store:
        return store.prepare()


def indexes(database, schema="v1", table="couchdb"):
    return dict(
        database.rows(
            "select indexname, indexdef from pg_indexes where schemaname = %s and tablename = %s", schema, table
        )
    )


def test_an_empty_database(database):
    assert prepare() == [
        "0001_raw_documents.sql",
        "0002_model_runs.sql",
        "0003_quarantine.sql",
        "0004_deployments.sql",
        "0005_test_results.sql",
        "0006_model_results.sql",
        "0007_windows.sql",
        "0008_collision_key.sql",
        "0009_first_load.sql",
        "0010_status.sql",
        "0011_incidents.sql",
        "0012_listing_hashes.sql",
        "0013_incident_channels.sql",
        "0014_first_load_comments.sql",
        "0015_asked.sql",
        "0016_postponed_indexes.sql",
        "0017_older_revisions.sql",
        "0018_task_error.sql",
        "0019_source_order.sql",
        "0020_quarantine_follows.sql",
        "0029_collision_stamp.sql",
        "0030_removed_models.sql",
        "0031_built_models.sql",
        "0032_models_zone.sql",
        "0033_test_acknowledgement.sql",
        "0034_copy_hold.sql",
        "0035_redacted_messages.sql",
        "0036_locks.sql",
        "0044_nul.sql",
        "0050_batches.sql",
        "0060_comments.sql",
        "0070_forms.sql",
        "0071_form_notices.sql",
    ]
    names = {
        "",
        "_progress",
        "_model_run",
        "_lock",
        "_dbt_lock",
        "_migration",
        "_quarantine",
        "_quarantine_part",
        "_collision",
        "_test_result",
        "_model_result",
        "_built_model",
        "_window",
        "_reconciliation",
        "_listing",
        "_first_load",
        "_incident",
        "_postponed_index",
        "_task_error",
        "_older_revision",
        "_deployment",
        "_source",
        "_nul",
        "_test_acknowledgement",
        "_copy_hold",
        "_form_progress",
    }
    others = {"v1._dataemon", "v1.form", "v1.form_field", "v1.form_definition", "v1.form_notice"}
    assert {*others, *(f"v1.couchdb{name}" for name in names)} == database.tables()
    assert {"_deleted", "saved_timestamp", "source", "couchdb_pkey"} == set(indexes(database))
    assert prepare() == []


def test_a_database_of_cht_sync_2(database):
    database.rows(CHT_SYNC_2)
    before = indexes(database)
    prepare()
    assert indexes(database) == before
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        store.claim("couch/medic")
        assert store.checkpoint("couch/medic") == "77-g1AAAA"
        assert store.checkpoint("couch/new") == "0"
        store.save("couch/medic", page_of({"_id": "new"}, last_seq="78-g1AAAA"), "77-g1AAAA")
    assert database.rows("select _id from v1.couchdb order by saved_timestamp") == [("old",), ("new",)]
    assert database.rows(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'v1' and table_name = 'couchdb_progress' order by ordinal_position"
    )[:4] == [
        ("seq", "character varying"),
        ("pending", "integer"),
        ("updated_at", "timestamp with time zone"),
        ("source", "character varying"),
    ]


def test_a_database_of_cht_sync_1_is_met_with_the_way_to_upgrade(database):
    database.rows(CHT_SYNC_1)
    with pytest.raises(SettingsError, match=r"v1.couchdb is one of CHT Sync 1\.x") as caught:
        prepare()
    assert "v1._dataemon" in database.tables()
    assert len(database.tables()) == 3
    alter, read_again = re.findall("`(.*?)`", str(caught.value))

    database.rows(alter)
    prepare()
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.claim("couch/medic")
        assert store.checkpoint("couch/medic") == "77-g1AAAA"
        store.save("couch/medic", page_of({"_id": "old", "n": 1}, last_seq="78-g1AAAA"), "77-g1AAAA")
    assert database.rows("select _id, source from v1.couchdb order by 1") == [("old", "couch/medic"), ("other", None)]

    database.rows(read_again)
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.claim("couch/medic")
        store.save("couch/medic", page_of({"_id": "old", "n": 1}, {"_id": "other"}), store.checkpoint("couch/medic"))
    assert database.rows("select source, count(*) from v1.couchdb group by 1") == [("couch/medic", 2)]


@pytest.mark.parametrize("table", ["couchdb", "documents"])
def test_a_database_of_couch2pg_3_is_met_with_the_way_to_upgrade(database, table):
    database.rows(COUCH2PG_3)
    with pytest.raises(SettingsError, match="is one of couch2pg.*POSTGRES_SCHEMA.*such as v1"):
        prepare(RawTable("public", table))
    assert database.tables() == {"public.couchdb", "public.couchdb_progress", "public.couchdb_users_meta"}

    prepare()  # as the sentence says
    assert {"public.couchdb", "v1.couchdb"} <= database.tables()
    assert database.value("select count(*) from public.couchdb") == 1


def test_collisions_of_before_get_their_key(database):
    prepare()
    database.rows(
        "alter table v1.couchdb_collision drop column key, add primary key (_id, source);"
        " delete from v1.couchdb_migration where name like '%0008_collision_key';"
        " insert into v1.couchdb_collision (_id, source, _deleted, doc, saved_timestamp)"
        " values ('é', 'a', false, '{}', now()), ('é', 'b', false, '{}', now())"
    )
    assert prepare() == ["0008_collision_key.sql"]
    assert database.rows("select distinct encode(key, 'hex') from v1.couchdb_collision") == [
        (sha256("é".encode()).hexdigest(),)
    ]
    with pytest.raises(psycopg2.errors.UniqueViolation):
        database.rows("update v1.couchdb_collision set source = 'a'")


@pytest.mark.parametrize(
    "raw",
    [
        RawTable("Weird Schema", 'a "quoted" table'),
        RawTable("v1; drop schema public; --", "x'); select 1; --"),
        RawTable("a$$b", "{table}"),
        RawTable("数据", "$1"),
    ],
)
def test_names_are_quoted_never_run(database, raw):
    prepare(raw)
    assert f"{raw.schema}.{raw.table}" in database.tables()
    with DocumentStore(postgres_connection(), raw) as store:
        store.claim("h/d")
        store.save("h/d", page_of({"_id": "a"}), None)
    count = sql.SQL("select count(*) from {}").format(sql.Identifier(raw.schema, raw.table))
    assert database.value(count) == 1
    assert database.value("select count(*) from pg_namespace where nspname = 'public'") == 1
    assert len(indexes(database, raw.schema, raw.table)) == 4


def test_a_second_table_in_a_schema_has_indexes_too(database):
    prepare()
    prepare(RawTable("v1", "other"))
    assert {"_deleted", "saved_timestamp", "source"} <= set(indexes(database))
    columns = " ".join(indexes(database, table="other").values())
    assert all(f"({column})" in columns for column in ("_deleted", "saved_timestamp", "source"))


@pytest.mark.parametrize(
    ("definition", "lacks"),
    [
        ("id integer", "saved_timestamp timestamp without time zone, _id character varying or text"),
        (
            "saved_timestamp timestamptz, _id varchar primary key, _deleted boolean, source varchar, doc jsonb",
            "saved_timestamp",
        ),
        ("saved_timestamp timestamp, _id varchar, _deleted boolean, source varchar, doc jsonb", "a unique _id"),
        ("saved_timestamp timestamp, _id varchar primary key, _deleted boolean, source varchar, doc json", "doc jsonb"),
    ],
)
def test_a_table_of_another_kind_is_refused_and_nothing_is_written(database, definition, lacks):
    database.rows(f"create schema v1; create table v1.couchdb ({definition})")
    with pytest.raises(SettingsError, match="v1.couchdb is there already and lacks") as caught:
        prepare()
    assert lacks in str(caught.value)
    assert "POSTGRES_TABLE" in str(caught.value)
    assert database.tables() == {"v1.couchdb"}


def test_a_model_that_has_the_name_of_a_table_of_ours_is_named(database):
    database.rows("create schema v1; create view v1.form_field as select 1 as a")
    with pytest.raises(SettingsError, match="v1.form_field is there already .* give that table or model another name"):
        prepare()
    assert database.tables() == set()


def test_a_role_without_rights_is_refused_and_nothing_is_written(database, monkeypatch):
    role = mine("weak")
    database.rows(f"create role {role} login password 'weak'")
    monkeypatch.setenv("POSTGRES_USER", role)
    monkeypatch.setenv("POSTGRES_PASSWORD", "weak")
    with pytest.raises(SettingsError, match=f"Role '{role}' may not create the tables of schema 'v1'.*grant"):
        prepare()
    assert database.tables() == set()


def test_a_role_that_may_only_write_rows_is_enough_once_the_tables_are_there(database, monkeypatch):
    prepare()
    role = mine("writer")
    database.rows(
        f"create role {role} login password 'w'; grant usage on schema v1 to {role};"
        f" grant select, insert, update on all tables in schema v1 to {role}"
    )
    monkeypatch.setenv("POSTGRES_USER", role)
    monkeypatch.setenv("POSTGRES_PASSWORD", "w")
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        assert store.prepare() == []
        store.claim("h/d")
        store.save("h/d", page_of({"_id": "a"}), None)


@pytest.mark.parametrize(
    ("variable", "value", "kind", "said"),
    [
        ("POSTGRES_PASSWORD", "wr0ng", SettingsError, "password authentication failed"),
        ("POSTGRES_DB", "nowhere", SettingsError, 'database "nowhere" does not exist'),
        ("POSTGRES_PORT", "9", StoreError, "refused"),
        ("POSTGRES_HOST", "no-such-host.invalid", StoreError, "POSTGRES_HOST"),
    ],
)
def test_a_postgres_that_cannot_be_used_gets_one_sentence(database, monkeypatch, variable, value, kind, said):
    monkeypatch.setenv(variable, value)
    with pytest.raises(kind) as caught:
        prepare()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "wr0ng" not in str(caught.value)


@pytest.mark.parametrize(
    "rule",
    ["insert to v1.couchdb do also notify documents", "delete to v1.couchdb_progress do instead nothing"],
)
def test_a_rule_that_nothing_can_be_stored_with_is_named(database, rule):
    prepare()
    database.rows(f"create rule told as on {rule}")
    with pytest.raises(SettingsError, match="has the rule told: PostgreSQL takes no INSERT … ON CONFLICT for a table"):
        prepare()
    database.rows("create rule gone as on delete to v1.couchdb do also notify documents")
    database.rows(f"drop rule told on {rule.split()[2]}")
    assert prepare() == []
