"""The schema ``api`` of ``include/postgrest/api.sql``: who may read what, and that deployments go on beside it."""

from __future__ import annotations

import select
from contextlib import closing

import psycopg2
import pytest
from psycopg2 import errors, sql

from cht_sync.dbt.rebuild import api_views
from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.plan import PlannedModel, RebuildPlan
from cht_sync.dbt.rebuild.swap import Swap
from cht_sync.postgres.connection import connect, explained
from cht_sync.settings.connections import dbt_connection
from cht_sync.settings.settings import REPOSITORY
from tests.integration.security.roles import PASSWORD, Roles

pytestmark = pytest.mark.integration

API = REPOSITORY / "include" / "postgrest" / "api.sql"
NODE = {
    "unique_id": "model.p.contact", "name": "contact", "alias": "contact", "schema": "v1", "resource_type": "model",
    "package_name": "p", "raw_code": "", "config": {"materialized": "table", "contract": {"enforced": False}},
    "columns": {}, "constraints": [], "depends_on": {"nodes": ["source.p.raw"]},
}  # fmt: skip


class Api(Roles):
    """A database with a model, a raw document, and the roles of both scripts."""

    def __init__(self, server, database):
        super().__init__(server, database)
        self.authenticator, self.role, self.owner = (f'{part} "{database.name}" ü' for part in ("auth", "api", "owner"))
        assert self.make().returncode == 0
        self.ask(
            self.sync, "create table v1.couchdb (_id varchar, doc jsonb); insert into v1.couchdb values ('secret')"
        )
        self.ask(
            self.dbt,
            "create table v1.contact (uuid varchar, name varchar, place varchar);"
            " insert into v1.contact values ('1', 'Amina', 'north'), ('2', 'Baraka', 'south');"
            " create table v1.dbt_results (id int); create view v1.names as select name from v1.contact",
        )

    def install(self, user="", password="", **more):
        variables = {
            "authenticator": self.authenticator, "api_role": self.role, "api_owner_role": self.owner,
            "dbt_role": self.dbt, **more,
        }  # fmt: skip
        return self.run(API, variables, (self.authenticator,), user, password)

    def request(self, statement, role=None):
        """As PostgREST does: log in, become the role of the JWT for one transaction that only reads."""
        where = {"host": self.server.host, "port": self.server.port, "dbname": self.database.name}
        with (
            closing(psycopg2.connect(user=self.authenticator, password=PASSWORD, **where)) as conn,
            conn,
            conn.cursor() as cursor,
        ):
            cursor.execute(sql.SQL("set local role {}").format(sql.Identifier(role or self.role)))
            cursor.execute("select set_config('request.jwt.claims', '{\"place\": \"north\"}', true)")
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def shown(self):
        return [
            row[0] for row in self.database.rows("select viewname from pg_views where schemaname = 'api' order by 1")
        ]

    def swap(self):
        plan = RebuildPlan((PlannedModel("model.p.contact", "contact", "v1.contact", 0, "asked for"),))
        connection = dbt_connection()
        manifest = {"nodes": {"model.p.contact": NODE}, "macros": {}}
        with closing(connect(connection, "test")) as conn, explained(connection, "swap"):
            return Swap(conn, connection.login, manifest, plan, {"v1": "v1__next"}).run(lambda cursor: None)


@pytest.fixture
def api(postgres_server, database, monkeypatch):
    api = Api(postgres_server, database)
    monkeypatch.setenv("DBT_POSTGRES_USER", api.dbt)
    monkeypatch.setenv("DBT_POSTGRES_PASSWORD", PASSWORD)
    return api


@pytest.fixture
def installed(api):
    done = api.install()
    assert (done.returncode, done.stderr) == (0, "")
    return api


def assert_rights(api):
    assert api.shown() == ["contact", "names"]
    assert api.request("select name from api.contact order by 1") == [("Amina",), ("Baraka",)]
    assert api.request("select count(*) from api.names") == [(2,)]
    everything = ("v1.couchdb", "v1.contact", "v1.names", "v1.dbt_results")
    for statement in (
        *(f"select * from {name}" for name in everything),
        "insert into api.contact values ('3')", "update api.contact set name = ''", "delete from api.contact",
        "drop view api.contact", "create view api.mine as select 1", "create table api.mine (a int)",
        "create schema mine", "create temporary table mine (a int)",
        "select api.refresh()", "select api.withdraw()", "select api.models_schema()",
    ):  # fmt: skip
        with pytest.raises(errors.InsufficientPrivilege):
            api.request(statement)
    # Without a JWT, the authenticator is nobody.
    api.refuses(
        api.authenticator, "select * from api.contact", "select * from v1.contact", "select * from v1.couchdb",
        "select api.refresh()", "create table public.mine (a int)",
    )  # fmt: skip
    for other in (api.dbt, api.sync, api.dashboard, api.owner, api.server.user):
        with pytest.raises(errors.InsufficientPrivilege):
            api.request("select 1", role=other)
    # The other way round.
    api.refuses(api.dashboard, "select * from api.contact", "select api.refresh()")
    api.refuses(api.sync, "select * from api.contact", "select api.refresh()")
    owner_sees = "select has_table_privilege(%s, 'v1.couchdb', 'select'), has_schema_privilege(%s, 'v1', 'create')"
    assert api.database.rows(owner_sees, api.owner, api.owner) == [(False, False)]
    assert api.database.rows("select rolcanlogin from pg_roles where rolname in (%s, %s)", api.owner, api.role) == [
        (False,), (False,),
    ]  # fmt: skip


def test_each_role_may_do_what_it_needs_and_nothing_else(installed):
    assert_rights(installed)
    done = installed.install()  # again
    assert (done.returncode, done.stderr) == (0, "")
    assert_rights(installed)


def test_the_owner_of_the_database_need_not_be_a_superuser(postgres_server, database):
    owner = f"api_{database.name}"
    database.rows(f"create role {owner} login createrole password 'x'")
    database.rows(f"alter database {database.name} owner to {owner}")
    roles = Roles(postgres_server, database)
    assert roles.make(owner, "x").returncode == 0
    api = Api.__new__(Api)
    api.__dict__.update(roles.__dict__)
    api.authenticator, api.role, api.owner = (f"{part}_{database.name}" for part in ("auth", "apirole", "apiowner"))
    api.ask(api.sync, "create table v1.couchdb (_id varchar)")
    api.ask(api.dbt, "create table v1.contact (name varchar); create view v1.names as select name from v1.contact")
    api.ask(api.dbt, "insert into v1.contact values ('Amina'), ('Baraka'); create table v1.dbt_results (id int)")
    for _ in range(2):
        done = api.install(owner, "x")
        assert (done.returncode, done.stderr) == (0, "")
        assert_rights(api)


def test_row_security_of_a_model_counts_for_requests(installed):
    installed.ask(
        installed.dbt,
        "alter table v1.contact enable row level security; create policy own_place on v1.contact for select"
        " using (place = current_setting('request.jwt.claims', true)::jsonb ->> 'place')",
    )
    assert installed.request("select name from api.contact") == [("Amina",)]


def test_views_follow_the_models_and_postgrest_is_told_only_of_changes(installed):
    with closing(psycopg2.connect(installed.database.dsn)) as listener:
        listener.autocommit = True
        listener.cursor().execute("listen pgrst")

        def told():
            select.select([listener], [], [], 0.2)
            listener.poll()
            payloads = [notice.payload for notice in listener.notifies]
            listener.notifies.clear()
            return payloads

        api_views.follow(dbt_connection())
        assert told() == [], "nothing has changed"
        # As dbt replaces a table: a new one, and the old one dropped with all that hangs from it.
        installed.ask(
            installed.dbt,
            "create table v1.contact__new as select uuid, name, 1 as score from v1.contact;"
            " alter table v1.contact rename to contact__dbt_backup; alter table v1.contact__new rename to contact;"
            " drop table v1.contact__dbt_backup cascade; create table v1.visit (id int)",
        )
        assert installed.shown() == []
        api_views.follow(dbt_connection())
        assert told() == ["reload schema"]
    assert installed.shown() == ["contact", "visit"]
    assert installed.request("select score from api.contact") == [(1,), (1,)]
    installed.ask(installed.dbt, "alter table v1.visit add column place varchar")
    api_views.follow(dbt_connection())
    assert installed.request("select place from api.visit") == []


def test_a_model_loses_a_column_and_is_swapped_all_the_same(installed):
    installed.ask(
        installed.dbt, "drop view v1.names cascade; create table v1__next.contact as select '7'::varchar as uuid"
    )
    installed.swap()
    assert installed.request("select * from api.contact") == [("7",)]
    assert installed.shown() == ["contact"]


def test_a_swap_that_fails_leaves_the_views_as_they_were(installed):
    installed.ask(installed.dbt, "create table v1__next.contact as select '7'::varchar as uuid")
    with pytest.raises(Exception, match=r"The view v1\.names does not fit"):
        installed.swap()
    assert_rights(installed)


def test_a_view_of_people_upon_one_of_the_api_is_named(installed):
    installed.database.rows("create view public.mine as select name from api.contact")
    installed.ask(installed.dbt, "create table v1__next.contact as select * from v1.contact")
    with pytest.raises(RebuildError, match=r"depends on a view of the schema api.*public\.mine|mine"):
        installed.swap()
    assert installed.request("select count(*) from api.contact") == [(2,)]


def test_without_the_schema_or_with_one_of_somebody_else_nothing_happens(api):
    api.ask(api.dbt, "create table v1__next.contact as select uuid, name from v1.contact")
    api_views.follow(dbt_connection())
    api.swap()
    api.database.rows("create schema api; create function api.refresh() returns int language sql as 'select 1 / 0'")
    api.database.rows("grant usage on schema api to public")
    api_views.follow(dbt_connection())
    done = api.install()
    assert done.returncode == 3
    assert "there is a schema api of somebody else" in done.stderr
    assert api.database.value("select count(*) from pg_roles where rolname = %s", api.role) == 0


def test_what_is_not_there_is_named(api):
    done = api.install(dbt_role="nobody", models_schema="nowhere")
    assert done.returncode == 3
    assert "there is no role nobody" in done.stderr
    assert "there is no schema nowhere" in done.stderr


def test_rights_that_reach_further_are_refused(api):
    api.database.rows("create table public.everybody (a int)")
    api.database.rows("grant select on public.everybody to public")
    done = api.install()
    assert done.returncode == 3
    assert "may read public.everybody" in done.stderr
    assert api.database.value("select count(*) from pg_namespace where nspname = 'api'") == 0
