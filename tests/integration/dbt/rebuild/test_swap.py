"""Relations made by hand in place of dbt's: what a swap does to them, and to all that people put on them."""

from __future__ import annotations

import threading
import time
from contextlib import closing, contextmanager

import psycopg2
import pytest

from cht_sync.dbt.rebuild import swap as module
from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.plan import PlannedModel, RebuildPlan
from cht_sync.dbt.rebuild.swap import Swap
from cht_sync.dbt.run.table_columns import note_rebuilt
from cht_sync.dbt.tables.built_models import BuiltModels
from cht_sync.errors import SettingsError
from cht_sync.postgres.connection import connect, explained
from cht_sync.settings.connections import dbt_connection
from cht_sync.store.migrations import MIGRATIONS

pytestmark = pytest.mark.integration

ROOT = "uuid varchar unique, edition varchar"
TO_ROOT = "on delete cascade"


def node(name, materialized="table", target="", **more):
    constraints = [{"type": "unique"}]
    if target:
        constraints.append({"type": "foreign_key", "expression": f"v1.{target} (uuid) on delete cascade"})
    return {
        "unique_id": f"model.p.{name}",
        "name": name,
        "alias": name,
        "schema": "v1",
        "resource_type": "model",
        "package_name": "p",
        "raw_code": "",
        "config": {"materialized": materialized, "contract": {"enforced": materialized == "table"}},
        "columns": {"uuid": {"name": "uuid", "constraints": constraints if materialized == "table" else []}},
        "constraints": [],
        "depends_on": {"nodes": ["source.p.raw"]},
        **more,
    }


class World:
    """A schema in use with a root and a child, and the same built aside."""

    def __init__(self, database):
        self.database, self.owner = database, database.value("select current_user")
        self.nodes = [node("root"), node("child", target="root")]
        self.sql(
            f"create schema v1; create schema v1__next; create schema people; create table v1.root ({ROOT});"
            "create table v1.child (uuid varchar unique references v1.root (uuid) on delete cascade, edition varchar)"
        )
        self.fill("v1", "old")
        self.sql(
            f"create table v1__next.root ({ROOT}); create table v1__next.child (uuid varchar unique references"
            " v1__next.root (uuid) on delete cascade, edition varchar)"
        )
        self.fill("v1__next", "new")

    def fill(self, schema, edition):
        for table in ("root", "child"):
            self.sql(f"insert into {schema}.{table} select n, '{edition}' from generate_series(1, 9) as n")

    def sql(self, text, *values):
        return self.database.rows(text, *values)

    @contextmanager
    def database_cursor(self):
        with psycopg2.connect(self.database.dsn) as conn, conn.cursor() as cursor:
            yield cursor

    def value(self, text):
        return self.database.value(text)

    def swap(self, names=("root", "child"), in_swap=lambda cursor: None, given_up=(), login=None, built=None):
        manifest = {"nodes": {one["unique_id"]: one for one in self.nodes}, "macros": {}}
        planned = [PlannedModel(f"model.p.{name}", name, f"v1.{name}", 0, "asked for") for name in names]
        connection = dbt_connection()
        if login:
            connection.login, connection.password = login, "x"
        with closing(connect(connection, "test")) as conn, explained(connection, "swap"):
            plan = RebuildPlan(tuple(planned), given_up=given_up)
            return Swap(conn, connection.login, manifest, plan, {"v1": "v1__next"}, built=built).run(in_swap)

    def foreign_keys(self):
        return self.sql(
            "select conrelid::regclass::text, conname, confrelid::regclass::text, confdeltype from pg_constraint"
            " where contype = 'f' and convalidated order by 1"
        )

    def editions(self):
        return [self.value(f"select string_agg(distinct edition, ' ') from v1.{name}") for name in ("root", "child")]

    def unchanged(self):
        return self.editions() == ["old", "old"] and self.value("select count(*) from v1__next.root") == 9


@pytest.fixture
def world(database):
    return World(database)


@pytest.fixture
def role(database, request):
    """A role of the test's own; roles belong to the whole server."""
    name = f"reader_{database.name}"
    database.rows(f"create role {name} login password 'x'; grant connect on database {database.name} to {name}")
    yield name
    database.rows(f"reassign owned by {name} to current_user; drop owned by {name}; drop role {name}")


def test_what_people_put_on_a_model_is_there_afterwards(world, role):
    world.sql(
        f"""
        grant usage on schema v1 to {role}; grant select on v1.child to {role} with grant option;
        grant select (edition), update (edition) on v1.root to {role};
        alter default privileges in schema v1 grant select on tables to {role};
        comment on table v1.child is 'of people'; comment on column v1.root.edition is 'a column''s';
        comment on column v1__next.root.uuid is 'of dbt'; comment on column v1.root.uuid is 'of dbt before';
        create index by_hand on v1.child using hash (edition); create unique index on v1.root (lower(uuid));
        create index "0123456789abcdef0123456789abcdef" on v1.root (edition);
        alter table v1.child set (autovacuum_vacuum_scale_factor = 0.01), enable row level security;
        create policy few on v1.child for select to {role} using (uuid < '5');
        create function people.seen() returns trigger language plpgsql as $$ begin return new; end $$;
        create trigger seen before insert on v1.child for each row execute function people.seen();
        create view people.both with (security_invoker = true) as
            select r.*, c.edition as of_child from v1.root r join v1.child c using (uuid);
        create view people.few as select uuid from people.both where edition <> '50%' ;
        create materialized view people.counted as select edition, count(*) from people.both group by 1;
        create unique index counted_key on people.counted (edition);
        grant select on people.few to {role}; comment on view people.few is 'few';
        create table people.mine (child varchar constraint mine_key references v1.child (uuid) on delete cascade);
        insert into people.mine select uuid from v1.child; delete from v1__next.child where uuid = '9'
        """
    )
    swapped = world.swap()
    assert (swapped.tries, swapped.notes) == (1, [])
    assert swapped.rows == {"model.p.root": 9, "model.p.child": 8}
    assert world.editions() == ["new", "new"]
    assert world.foreign_keys() == [
        ("people.mine", "mine_key", "v1.child", "c"),
        ("v1.child", "child_uuid_fkey", "v1.root", "c"),
    ]
    assert world.value("select count(*) from people.mine") == 8, "as the cascade would have had it"
    assert world.value("select string_agg(edition || count, ',') from people.counted") == "new8"
    assert world.value("select count(*) from people.few") == 8
    assert (
        world.value("select reloptions::text from pg_class where oid = 'people.both'::regclass")
        == "{security_invoker=true}"
    )
    assert (
        world.value("select reloptions::text from pg_class where relname = 'child'")
        == "{autovacuum_vacuum_scale_factor=0.01}"
    )
    assert world.sql("select obj_description('v1.child'::regclass), obj_description('people.few'::regclass)") == [
        ("of people", "few")
    ]
    assert world.sql("select col_description('v1.root'::regclass, n) from generate_series(1, 2) n") == [
        ("of dbt",),
        ("a column's",),
    ]
    indexes = {row[0] for row in world.sql("select indexname from pg_indexes where schemaname in ('v1', 'people')")}
    assert {"by_hand", "root_lower_idx", "counted_key"} <= indexes
    assert "0123456789abcdef0123456789abcdef" not in indexes, "an index of dbt's is dbt's to make"
    assert (
        world.value("select tgenabled from pg_trigger where tgname = 'seen' and tgrelid = 'v1.child'::regclass") == "O"
    )
    assert world.sql("select to_regclass('v1__next.root'), to_regclass('v1__next.child')") == [(None, None)]

    with psycopg2.connect(world.database.dsn, user=role, password="x") as conn, conn.cursor() as cursor:
        cursor.execute("select count(*) from v1.child")
        assert cursor.fetchone() == (4,), "the policy of the row security"
        cursor.execute("select edition from v1.root limit 1")
        cursor.execute("select has_table_privilege('v1.child', 'select with grant option')")
        assert cursor.fetchone() == (True,)
        cursor.execute("select has_column_privilege('v1.root', 'edition', 'update')")
        assert cursor.fetchone() == (True,)
    world.sql("delete from v1.root where uuid = '1'")
    assert world.value("select count(*) from people.mine") == 7, "a delete reaches them all"


def test_a_new_model_brings_the_rights_of_its_schema_and_a_model_that_is_gone_stays_with_its_key(world, role):
    world.sql(
        f"alter default privileges in schema v1 grant select on tables to {role};"
        f"create table v1.gone (uuid varchar references v1.root (uuid) on delete cascade); insert into v1.gone values ('2');"
        "create table v1__next.added (uuid varchar unique)"
    )
    world.nodes.append(node("added"))
    world.swap(("root", "child", "added"))
    assert world.value(f"select has_table_privilege('{role}', 'v1.added', 'select')")
    world.sql("delete from v1.root where uuid = '2'")
    assert world.value("select count(*) from v1.gone") == 0


def test_keys_of_hooks_follow_and_keys_that_were_given_up_do_not(world):
    world.sql(
        "alter table v1.child add column other varchar constraint hooked references v1.root (uuid),"
        " add column twice varchar constraint given references v1.root (uuid),"
        " add column lost varchar constraint lost references v1.root (uuid);"
        "alter table v1__next.child add column other varchar, add column twice varchar;"
        "alter table v1__next.child drop constraint child_uuid_fkey,"
        " add constraint child_uuid_fkey foreign key (uuid) references v1.root (uuid) on delete cascade"
    )
    swapped = world.swap(given_up=("v1.child (twice)",))
    assert [row[1:3] for row in world.foreign_keys()] == [("child_uuid_fkey", "v1.root"), ("hooked", "v1.root")]
    assert swapped.notes == ["Gone: v1.child (lost), a foreign key to v1.root: there is no such column any more."]


def test_keys_to_tables_that_stay_are_made_with_the_swap(world):
    world.sql(
        "alter table v1__next.child drop constraint child_uuid_fkey;"
        "insert into v1__next.child values ('deleted since', 'new')"
    )
    assert world.swap(("child",)).rows == {"model.p.child": 9}
    assert world.foreign_keys() == [("v1.child", "child_uuid_fkey", "v1.root", "c")]
    assert world.editions() == ["old", "new"]


def test_views_of_models_change_places_with_tables(world):
    world.sql(
        "create view v1.seen as select * from v1.child; create table v1.kept as select 'old' as edition;"
        "create view people.over as select edition from v1.seen union select edition from v1.kept;"
        "create table v1__next.seen as select * from v1__next.child; create view v1__next.kept as select edition from v1__next.root"
    )
    world.nodes += [node("seen"), node("kept", "view")]
    world.nodes[2]["columns"] = {}
    world.swap(("root", "child", "seen", "kept"))
    assert world.sql("select * from people.over") == [("new",)]
    assert world.sql("select relkind from pg_class where relname in ('kept', 'seen') order by relname") == [
        ("v",),
        ("r",),
    ]


def test_rows_that_hooks_wrote_are_kept(world):
    world.sql(
        "create table v1.results (a int, b text); insert into v1.results values (1, 'x'); create table v1__next.results (a int, c text)"
    )
    hook = {"resource_type": "operation", "raw_code": "{{ log('results') }}"}
    world.nodes.append(node("results", "incremental", columns={}, depends_on={"nodes": []}))
    world.nodes.append({**hook, "unique_id": "operation.p.end"})
    world.swap(("root", "child", "results"))
    assert world.sql("select * from v1.results") == [(1, None)]


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        (
            "create view people.wide as select lost from v1.child",
            r"The view people.wide does not fit the models .*column .*lost.? does not exist.*nothing was changed",
        ),
        (
            "create function people.takes(v1.child) returns int language sql as 'select 1'",
            "A user-defined object depends on a model .*people.takes.* depends on type v1.child",
        ),
        (
            "alter table v1__next.child drop constraint child_uuid_key",
            r"constraints that are missing .*: v1.child \(uuid\): unique",
        ),
        (
            "create table people.mine (child varchar references v1.child (uuid)); insert into people.mine values ('9');"
            "delete from v1__next.child where uuid = '9'",
            r"The foreign key mine_child_fkey of people.mine \(child\) to v1.child does not fit",
        ),
        (
            "create table people.mine (lost varchar references v1.child (lost))",
            r"The foreign key .* of people.mine \(lost\) to v1.child does not fit .*does not exist",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_changes_nothing(world, statement, refusal):
    world.sql("alter table v1.child add column lost varchar unique")
    world.sql(statement)
    with pytest.raises((SettingsError, RebuildError), match=refusal):
        world.swap()
    assert world.unchanged()


def test_what_belongs_to_others_is_refused(world, role):
    world.sql(
        f"alter schema v1 owner to {role}; alter schema v1__next owner to {role}; grant create, usage on schema people to {role};"
        + "".join(
            f"alter table {schema}.{name} owner to {role};"
            for schema in ("v1", "v1__next")
            for name in ("root", "child")
        )
        + "create view people.over as select * from v1.child"
    )
    with pytest.raises(
        SettingsError, match=f"The view people.over of role '{world.owner}' .* role '{role}' may not create it again"
    ):
        world.swap(login=role)
    world.sql("drop view people.over; create table people.mine (child varchar references v1.child (uuid))")
    with pytest.raises(
        SettingsError, match=rf"people.mine \(child\) has a foreign key to v1.child.*role '{world.owner}'"
    ):
        world.swap(login=role)
    assert world.unchanged()
    world.sql("drop table people.mine")
    world.swap(login=role)
    assert world.editions() == ["new", "new"]


def test_readers_with_open_transactions_are_waited_for_and_others_hardly_wait(world, monkeypatch):
    monkeypatch.setattr(module, "LONGEST_PAUSE_S", 1.0)
    called, longest, stop = [], [0.0], threading.Event()
    monkeypatch.setattr(module, "PATIENCE_S", 20)

    def others():
        with closing(psycopg2.connect(world.database.dsn)) as conn, conn.cursor() as cursor:
            conn.autocommit = True
            while not stop.is_set():
                began = time.monotonic()
                cursor.execute(
                    "select count(*), min(edition), max(edition) from v1.child join v1.root using (uuid, edition)"
                )
                count, first, last = cursor.fetchone()
                assert (count, first) == (9, last)
                longest[0] = max(longest[0], time.monotonic() - began)
                time.sleep(0.02)

    with closing(psycopg2.connect(world.database.dsn)) as reader, reader.cursor() as cursor:
        cursor.execute("select count(*) from v1.child")
        released = threading.Timer(3.0, reader.rollback)
        released.start()
        polling = threading.Thread(target=others, daemon=True)
        polling.start()
        swapped = world.swap(in_swap=lambda cursor: called.append(cursor.connection.closed))
        stop.set()
        polling.join()
        released.join()
    assert swapped.tries > 1
    assert called == [0]
    assert longest[0] < 2.5
    assert world.editions() == ["new", "new"]


def test_readers_that_never_let_go_are_named(world, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE_S", 0)
    monkeypatch.setattr(module, "LOCK_TIMEOUT", "100ms")
    with closing(psycopg2.connect(world.database.dsn, application_name="board")) as reader, reader.cursor() as cursor:
        cursor.execute("select count(*) from v1.child")
        with pytest.raises(
            RebuildError, match=r"Readers did not let go .*nothing was changed.*board \(\d+, in a transaction"
        ):
            world.swap()
    assert world.unchanged()


def test_what_was_built_is_noted_with_the_swap_and_columns_of_people_are_named(world):
    text = (MIGRATIONS / "0031_built_models.sql").read_text().replace("{schema}", "v1")
    world.sql(text)
    world.sql("alter table v1.root add remark text; alter table v1__next.root add more numeric(9, 2)")
    world.nodes[0]["config"]["materialized"] = "incremental"
    before = {("v1", "root"): {"uuid": "character varying", "edition": "character varying"}}
    with world.database_cursor() as cursor:
        BuiltModels(cursor, "v1").record({**before, ("v1", "child"): {"old": "text"}})
    swapped = world.swap(in_swap=lambda cursor: note_rebuilt(cursor, "v1", world.nodes), built=before)
    assert swapped.notes == ["Gone: the column remark of v1.root, which no model built."]
    assert world.sql("select relation, columns from v1.couchdb_built_model") == [
        ("root", {"uuid": "character varying", "edition": "character varying", "more": "numeric(9,2)"})
    ]


def test_a_failure_in_the_last_step_changes_nothing(world):
    def fail(cursor):
        cursor.execute("create table v1.half (a int)")
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        world.swap(in_swap=fail)
    assert world.unchanged()
    assert world.value("select to_regclass('v1.half')") is None
