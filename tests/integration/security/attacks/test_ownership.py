"""Whoever writes models cannot have the copy run code of theirs, with its rights."""

from __future__ import annotations

from contextlib import closing

import psycopg2
import pytest

from cht_sync.errors import SettingsError
from cht_sync.postgres.connection import connect
from cht_sync.settings.connections import postgres_connection
from cht_sync.settings.settings import RawTable
from cht_sync.store.document_store import DocumentStore
from tests.integration.conftest import page_of
from tests.integration.security.roles import PASSWORD, Roles

pytestmark = pytest.mark.integration
SOURCE = "couch.example.org/medic"
#: Gives the attacker what the role may, once that role runs it.
CODE = """
create function v1.steal() returns trigger language plpgsql as
$$ begin execute format('grant %I to %I', current_user, {attacker}); return new; end $$
"""


@pytest.fixture
def roles(postgres_server, database, monkeypatch):
    made = Roles(postgres_server, database)
    done = made.make()
    assert done.returncode == 0, done.stderr
    monkeypatch.setenv("POSTGRES_USER", made.sync)
    monkeypatch.setenv("POSTGRES_PASSWORD", PASSWORD)
    return made


def copied(name="a"):
    with DocumentStore(postgres_connection(), RawTable("v1", "couchdb")) as store:
        store.prepare()
        store.claim(SOURCE)
        store.save(SOURCE, page_of({"_id": name, "_rev": "1-a"}), store.checkpoint(SOURCE))


def refused():
    with pytest.raises(SettingsError) as caught:
        copied("b")
    return str(caught.value)


@pytest.mark.parametrize(
    "table",
    [
        "couchdb (saved_timestamp timestamp, _id varchar primary key, _deleted boolean, source varchar, doc jsonb)",
        "couchdb_progress (seq varchar, pending integer, updated_at timestamptz, source varchar primary key)",
        "couchdb_migration (name varchar primary key, applied_at timestamptz not null default now())",
        "couchdb_lock (name varchar primary key, pid integer, sign bigint, role varchar)",
        "couchdb_quarantine (id integer)",
    ],
    ids=lambda text: text.split(" ")[0],
)
def test_a_table_that_was_there_first(roles, table):
    name = table.split(" ")[0]
    attacker = roles.dbt.replace("'", "''")
    roles.ask(
        roles.dbt,
        f"{CODE.format(attacker=repr(attacker))}; create table v1.{table};"
        f" create trigger steal before insert on v1.{name} for each row execute function v1.steal();"
        f" grant all on v1.{name} to public",
    )
    before = roles.database.tables()
    assert f"v1.{name} belongs to role" in refused()
    assert roles.dbt in refused()
    assert roles.database.tables() == before


def test_other_kinds_of_relations_of_that_name(roles):
    roles.ask(roles.dbt, "create view v1.couchdb_quarantine as select 1 as source; create sequence v1.couchdb_lock")
    assert "v1.couchdb_lock belongs to" in refused()
    assert "v1.couchdb_quarantine belongs to" in refused()


@pytest.mark.parametrize(
    "use",
    [
        "create trigger t before insert on v1.couchdb for each row execute function v1.mine()",
        "alter table v1.couchdb alter source set default v1.word()",
        "alter table v1.couchdb add constraint c check (v1.word() <> '')",
        "create index on v1.couchdb (v1.word_of(_id))",
        "create rule r as on insert to v1.couchdb do also select v1.word()",
        "create policy p on v1.couchdb using (v1.word() <> '')",
        "alter table v1.couchdb add column more v1.mood",
        "alter table v1.couchdb_quarantine add constraint c check (v1.word() <> '')",
        "alter table v1.couchdb add constraint c check (_id operator(v1.@@@) _id)",
    ],
)
def test_a_function_operator_or_type_of_theirs_upon_a_table_of_ours(roles, use):
    """As where a superuser has let them, or all belonged to one role before."""
    copied()
    roles.ask(
        roles.dbt,
        "create function v1.mine() returns trigger language plpgsql as 'begin return new; end';"
        "create function v1.word() returns text language sql immutable as $$ select 'x' $$;"
        "create function v1.word_of(varchar) returns text language sql immutable as $$ select 'x' $$;"
        "create function v1.alike(varchar, varchar) returns boolean language sql immutable as 'select true';"
        "create operator v1.@@@ (leftarg = varchar, rightarg = varchar, function = v1.alike);"
        "create type v1.mood as enum ('good');"
        "grant execute on all functions in schema v1 to public",
    )
    roles.database.rows(use)
    said = refused()
    assert "v1.couchdb" in said
    assert roles.dbt in said
    assert roles.database.value("select count(*) from v1.couchdb") == 1


def test_triggers_of_who_may_do_anything_stay(roles):
    copied()
    roles.database.rows(
        "create function public.note() returns trigger language plpgsql as 'begin return new; end';"
        "create trigger t before insert on v1.couchdb for each row execute function public.note()"
    )
    copied("b")
    assert roles.database.value("select count(*) from v1.couchdb") == 2


def test_a_function_in_public_takes_no_other_ones_place(roles):
    """One whose parameters fit better would be called instead of the one in ``pg_catalog``."""
    roles.database.rows("grant create on schema public to public")
    with closing(connect(postgres_connection(), "test")) as conn, conn, conn.cursor() as cursor:
        cursor.execute("show search_path")
        assert cursor.fetchone() == ("pg_catalog, pg_temp",)
    roles.database.rows("revoke create on schema public from public")
    with closing(connect(postgres_connection(), "test")) as conn, conn, conn.cursor() as cursor:
        cursor.execute("show search_path")
        assert cursor.fetchone() == ("pg_catalog, public, pg_temp",)


def test_the_script_of_the_roles_takes_over_no_code_of_theirs(postgres_server, database):
    made = Roles(postgres_server, database)
    assert made.make().returncode == 0
    made.ask(
        made.dbt,
        "create table v1.couchdb_quarantine (id integer);"
        "create function v1.mine() returns trigger language plpgsql as 'begin return new; end';"
        "create trigger t before insert on v1.couchdb_quarantine for each row execute function v1.mine()",
    )
    again = made.make()
    assert again.returncode != 0
    assert "couchdb_quarantine" in again.stderr
    assert "v1.mine()" in again.stderr
    owner = "select pg_get_userbyid(relowner) from pg_class where oid = 'v1.couchdb_quarantine'::regclass"
    with closing(psycopg2.connect(database.dsn)) as conn, conn.cursor() as cursor:
        cursor.execute(owner)
        assert cursor.fetchone() == (made.dbt,)
