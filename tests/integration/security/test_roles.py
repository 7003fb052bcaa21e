"""The roles of ``include/roles/roles.sql``: with them everything works, and nothing else does."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from cht_sync.dbt.project.version import MANIFEST_FILE, Deployment
from cht_sync.dbt.schema_lock import schema_lock
from cht_sync.dbt.tables.deployments import Deployments, Recorded
from cht_sync.dbt.tables.model_runs import ModelRuns
from cht_sync.operators.couchdb_to_postgres import CouchDBToPostgresOperator
from cht_sync.postgres.connection import connect
from cht_sync.settings.connections import dbt_connection, postgres_connection
from cht_sync.settings.settings import RawTable, Settings
from cht_sync.store.document_store import DocumentStore
from cht_sync.store.migrations import MIGRATIONS
from tests.integration.conftest import page_of
from tests.integration.security.roles import PASSWORD, ROLES, Roles, numbers
from tests.integration.security.starter import run_models
from tests.servers import EVERYWHERE, mine

pytestmark = pytest.mark.integration

BOOKKEEPING = [
    "couchdb", "couchdb_progress", "couchdb_migration", "couchdb_model_run",
    "couchdb_quarantine", "couchdb_quarantine_part", "couchdb_collision", "couchdb_test_result",
    "couchdb_model_result",
    "couchdb_window", "couchdb_reconciliation", "couchdb_listing", "couchdb_task_error",
    "couchdb_test_acknowledgement", "couchdb_copy_hold",
    "form", "form_field", "form_definition", "couchdb_form_progress", "form_notice",
]  # fmt: skip
# Written by the role of the models, in the transaction that swaps them.
DEPLOYMENTS = ["couchdb_deployment", "_dataemon", "couchdb_built_model"]
PERSON = {"_id": "p", "type": "person", "name": "Amina", "reported_date": 1_700_000_000_000}


@pytest.fixture
def roles(postgres_server, database, monkeypatch):
    made = []

    def make(**variables: str) -> Roles:
        made.append(Roles(postgres_server, database, **variables))
        monkeypatch.setenv("POSTGRES_USER", made[-1].sync)
        monkeypatch.setenv("POSTGRES_PASSWORD", PASSWORD)
        monkeypatch.setenv("DBT_POSTGRES_USER", made[-1].dbt)
        monkeypatch.setenv("DBT_POSTGRES_PASSWORD", PASSWORD)
        if "raw_schema" in variables:
            monkeypatch.setenv("POSTGRES_SCHEMA", variables["raw_schema"])
        monkeypatch.setenv("DBT_POSTGRES_SCHEMA", made[-1].models_schema)
        return made[-1]

    return make


@pytest.fixture
def copy(couchdb_server, monkeypatch):
    """Write documents into a database of CouchDB and copy it with the operator."""
    from urllib.parse import urlsplit

    import requests

    name = mine(f"roles-{next(numbers)}")
    for variable, value in {
        "COUCHDB_HOST": "127.0.0.1",
        "COUCHDB_PORT": str(urlsplit(couchdb_server.url).port),
        "COUCHDB_USER": couchdb_server.user,
        "COUCHDB_PASSWORD": couchdb_server.password,
    }.items():
        monkeypatch.setenv(variable, value)
    requests.put(f"{couchdb_server.url}/{name}", auth=couchdb_server.auth, timeout=10).raise_for_status()

    def write_and_copy(*documents):
        url = f"{couchdb_server.url}/{name}/_bulk_docs"
        requests.post(
            url, json={"docs": documents}, params=EVERYWHERE, auth=couchdb_server.auth, timeout=10
        ).raise_for_status()
        return CouchDBToPostgresOperator(task_id="sync", database=name).execute({})

    return write_and_copy


def assert_least_privilege(roles: Roles, raw: str = "v1") -> None:
    models = roles.models_schema
    assert roles.ask(roles.dashboard, f'select name from "{models}".contact') == [("Amina",)]
    assert roles.ask(roles.dashboard, f'select count(*) from "{models}".document_metadata') == [(1,)]
    for table in BOOKKEEPING:
        name = f'"{raw}".{table}'
        roles.refuses(roles.dashboard, f"select * from {name}", f"select 1 from {name}", f"delete from {name}")
        roles.ask(roles.dbt, f"select * from {name}")
        roles.refuses(
            roles.dbt, f"delete from {name}", f"drop table {name}", f"truncate {name}",
            f"create trigger t before insert on {name} execute function suppress_redundant_updates_trigger()",
            f"alter table {name} rename to stolen", f"alter table {name} owner to current_user",
        )  # fmt: skip
    Deployments(Settings()).prepare()  # as each run of cht_pipeline_deploy begins
    for table in DEPLOYMENTS:
        name = f'"{raw}".{table}'
        roles.refuses(roles.dashboard, f"select * from {name}", f"delete from {name}")
        roles.refuses(roles.dbt, f"drop table {name}", f"truncate {name}", f"alter table {name} rename to stolen")
        roles.ask(roles.dbt, f"delete from {name} where false")
    roles.refuses(roles.dbt, f'insert into "{raw}".couchdb (_id) values (1)', f'update "{raw}".couchdb set _id = 1')
    contact = f'"{models}".contact'
    roles.refuses(
        roles.sync, f"select * from {contact}", f"insert into {contact} (uuid) values (1)", f"delete from {contact}",
        f"update {contact} set name = ''", f"truncate {contact}", f"drop table {contact}",
    )  # fmt: skip
    roles.refuses(
        roles.dashboard, f"insert into {contact} (uuid) values (1)", f"delete from {contact}", f"drop table {contact}",
        f'create table "{models}".mine (a int)', "create temporary table mine (a int)", "create schema mine",
    )  # fmt: skip
    for role in (roles.sync, roles.dbt):
        roles.refuses(role, f'drop schema "{models}" cascade', f'drop schema "{raw}" cascade', "create schema mine")
        roles.refuses(role, "create table public.mine (a int)", "copy (select 1) to program 'true'")


def test_everything_works_in_one_schema_on_an_empty_database(roles, database, copy, tmp_path):
    roles = roles()
    done = roles.make()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert copy(PERSON)["rows"] == 1
    run_models(tmp_path, "v1")
    assert_least_privilege(roles)

    # Again, with everything there: tables of the roles stay theirs, and what comes later has the same rights.
    done = roles.make()
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert copy({"_id": "q", "type": "clinic", "name": "North"})["rows"] == 1
    run_models(tmp_path, "v1")
    assert database.value("select count(*) from v1.contact") == 2
    database.rows("delete from v1.document_metadata where uuid = 'q'")
    assert_least_privilege(roles)


def test_the_models_alone_read_what_lies_beside_the_table(roles, tmp_path):
    """Documents of a second source, such as the settings of its server."""
    roles = roles()
    assert roles.make().returncode == 0
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        for source, kind in (("north/medic", "chw"), ("south/medic", "nurse")):
            types = {"_id": "settings", "settings": {"contact_types": [{"id": kind, "person": True}]}}
            contact = {"_id": f"of {source}", "type": "contact", "contact_type": kind}
            store.save(source, page_of(types, contact), None)
    run_models(tmp_path, "v1")
    persons = [("of north/medic",), ("of south/medic",)]
    assert roles.ask(roles.dashboard, "select uuid from v1.person order by 1") == persons
    roles.refuses(roles.dashboard, "select * from v1.couchdb_collision", "select doc from v1.couchdb_collision")


def test_two_schemas_with_names_that_need_quotes(roles, copy, tmp_path):
    roles = roles(raw_schema="Raw; 'drop", models_schema="Mo dels")
    assert roles.make().returncode == 0
    assert copy(PERSON)["rows"] == 1
    run_models(tmp_path, roles.models_schema)
    roles.refuses(roles.sync, 'create table "Mo dels".mine (a int)')
    roles.refuses(roles.dbt, """create table "Raw; 'drop".mine (a int)""")
    assert roles.ask(roles.dashboard, 'select name from "Mo dels".contact') == [("Amina",)]
    roles.refuses(roles.dashboard, """select * from "Raw; 'drop".couchdb""")


def test_a_live_database_of_cht_sync_is_handed_over(roles, database, postgres_server, copy, tmp_path, monkeypatch):
    roles = roles()
    # As CHT Sync 2.x leaves it: one superuser owns all, and who reads was given everything.
    with monkeypatch.context() as before:
        before.setenv("POSTGRES_USER", postgres_server.user)
        before.setenv("POSTGRES_PASSWORD", postgres_server.password)
        before.setenv("DBT_POSTGRES_USER", "")
        before.setenv("DBT_POSTGRES_PASSWORD", "")
        database.rows("create schema v1")
        database.rows("create table v1._dataemon (inserted_on timestamp, packages jsonb, manifest jsonb)")
        assert copy(PERSON)["rows"] == 1
        run_models(tmp_path, "v1")
    reader = mine(f"superset_{next(numbers)}")
    for statement in (
        "create view v1.names as select doc->>'name' as name from v1.couchdb",
        "create materialized view v1.counts as select count(*) from v1.contact",
        "create sequence v1.numbers",
        "create table v1.owned (id serial, word text)",
        f"create role {reader} login password 'x'",
        f"grant usage on schema v1 to {reader}",
        f"grant select on all tables in schema v1 to {reader}",
        "grant select on all tables in schema v1 to public",
        "grant all on schema v1 to public",
    ):
        database.rows(statement)
    for _ in range(2):
        done = roles.make()
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    owners = dict(
        database.rows("select relname, pg_get_userbyid(relowner) from pg_class where relkind in ('r','v','m')")
    )
    assert {owners[table] for table in (*BOOKKEEPING, *DEPLOYMENTS)} == {roles.sync}
    assert {owners[each] for each in ("contact", "document_metadata", "names", "counts", "owned")} == {roles.dbt}
    assert copy({"_id": "p2", "type": "person", "name": "Amina"})["rows"] == 1
    run_models(tmp_path, "v1")
    database.rows("delete from v1.document_metadata where uuid = 'p2'")
    assert_least_privilege(roles)
    # A view is read with the rights of its owner, as dbt's are.
    assert roles.ask(roles.dashboard, "select distinct name from v1.names") == [("Amina",)]
    where = {"host": postgres_server.host, "port": postgres_server.port, "dbname": database.name}
    with closing(psycopg2.connect(user=reader, password="x", **where)) as conn, conn.cursor() as cursor:
        cursor.execute("select name from v1.contact where uuid = 'p'")
        assert cursor.fetchall() == [("Amina",)], "who was given rights by name keeps them"


def test_public_gets_nothing(roles, database, postgres_server):
    roles = roles()
    assert roles.make().returncode == 0
    stranger = mine(f"stranger_{next(numbers)}")
    database.rows(f"create role {stranger} login password 'x'")
    where = {"host": postgres_server.host, "port": postgres_server.port, "dbname": database.name}
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        psycopg2.connect(user=stranger, password="x", **where)


def test_a_role_that_may_do_too_much_is_refused_and_nothing_changes(roles, database):
    roles = roles()
    database.rows(f'create role "{roles.dashboard.replace(chr(34), chr(34) * 2)}" login superuser')
    database.rows("create schema v1")
    database.rows("create table v1.couchdb (_id varchar)")
    done = roles.make()
    assert done.returncode == 3
    assert "Nothing was changed" in done.stderr
    assert "may read v1.couchdb" in done.stderr
    assert database.value("select count(*) from pg_roles where rolname = %s", roles.sync) == 0
    assert database.value("select tableowner from pg_tables where tablename = 'couchdb'") == roles.server.user


def test_the_owner_of_the_database_need_not_be_a_superuser(roles, database, copy, tmp_path):
    roles = roles()
    owner = mine(f"owner_{next(numbers)}")
    database.rows(f"create role {owner} login createrole password 'x'")
    database.rows(f"alter database {database.name} owner to {owner}")
    for _ in range(2):
        done = roles.make(owner, "x")
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        copy(PERSON)
        run_models(tmp_path, "v1")
        assert_least_privilege(roles)


def test_model_runs_deployments_and_the_lock_work_with_these_roles(roles, database, tmp_path):
    roles = roles()
    assert roles.make().returncode == 0
    raw = RawTable("v1", "couchdb")
    with DocumentStore(postgres_connection(), raw) as store:
        store.prepare()
        store.claim("s")
        stamp = store.save("s", page_of({"_id": "a"}), None).stamp
    runs = ModelRuns(postgres_connection(), raw, "v1")
    runs.record(stamp, "one")
    assert runs.state().modelled_to == stamp
    assert runs.reached(dbt_connection()) is None
    deployments = Deployments(Settings())
    deployments.prepare()
    path = tmp_path / "version"
    path.mkdir()
    (path / MANIFEST_FILE).write_text('{"nodes": {}}')
    with closing(connect(dbt_connection(), "swap")) as conn, conn, conn.cursor() as cursor:
        deployments.record(cursor, Deployment(path, path, "s", "f", "r"), [""], Recorded({}), "")
    assert deployments.manifests([""]) == {"": {"nodes": {}}}
    with schema_lock(Settings(), "v1", "first"):
        roles.refuses(roles.dbt, "insert into v1.couchdb_model_run values ('v1', '', null, '', now())")


def test_the_script_knows_every_table_that_the_migrations_make():
    import re

    text = ROLES.read_text()
    for file in MIGRATIONS.glob("*.sql"):
        for name in re.findall(r"create table if not exists \{schema\}\.(\w+)", file.read_text()):
            assert f"'{name}'" in text, f"{name} is to be listed in {ROLES.name}"
