import pytest

from cht_sync.dbt.subprocess.redirect import NOTHING, Redirect
from cht_sync.dbt.subprocess.sql_text import statements

MOVED = {("v1", "contact"): "v1__next", ("v1", "root"): "v1__next", ("v1", "later"): "v1__next"}
HANGING = [("v1", "contact"), ("v1", "shown")]
INDEXES = [("v1", "by_name")]


def ask(query, values):
    if "to_regclass" in query:
        return [("later" not in values[0],)]
    if "confrelid" in query:
        return [("r", "about")]
    return HANGING if "hanging" in query else INDEXES


def redirect():
    return Redirect(MOVED, {"v1": "v1__next"}, "db")


@pytest.mark.parametrize(
    ("text", "now"),
    [
        ("select v1.contact.uuid from V1 . Contact", 'select "v1__next".contact.uuid from "v1__next".Contact'),
        ('delete from "db"."v1"."contact" -- v1.contact', 'delete from "v1__next"."contact" -- v1.contact'),
        ("select 'v1.contact' from v1.other, v1.contacts, x.v1.contact", None),
        ("select 'v1.contact'::regclass", """select '"v1__next".contact'::regclass"""),
        ("select to_regclass('v1.root')", """select to_regclass('"v1__next".root')"""),
        ("select uuid from v1.later", None),
        (
            'alter table "v1__next"."contact" add foreign key (uuid) references v1.root (uuid)',
            'alter table "v1__next"."contact" add foreign key (uuid) references "v1__next".root (uuid)',
        ),
        (
            "do $x$ begin alter table v1.contact add check (a <> ''); execute 'analyze v1.root'; end $x$",
            "do $x$ begin alter table \"v1__next\".contact add check (a <> ''); execute 'analyze \"v1__next\".root'; end $x$",
        ),
        ("create index by_name on v1.contact (a)", 'create index by_name on "v1__next".contact (a)'),
        ("drop index if exists v1.by_name", 'drop index if exists "v1__next".by_name'),
        ("drop index v1.of_others", None),
        (
            "create trigger t after delete on v1.contact for each row execute function f()",
            'create trigger t after delete on "v1__next".contact for each row execute function f()',
        ),
        ("create temp view t as select from v1.contact", 'create temp view t as select from "v1__next".contact'),
        (
            'create view "db"."v1__next"."shown__dbt_tmp" as (select from v1.contact)',
            'create view "db"."v1__next"."shown__dbt_tmp" as (select from "v1__next".contact)',
        ),
        ("set local search_path to v1, public", 'set local search_path to "v1__next", v1, public'),
        ("drop view if exists v1.elsewhere", None),
        ("create schema if not exists v1__next", None),
        ("select e'it\\'s v1.contact', $$v1.contact$$", None),
    ],
)
def test_what_is_done_to_tables_that_are_built_is_done_there(text, now):
    tried = redirect()
    assert tried.now(text, "model.p.contact", ask) == (text if now is None else now)
    assert not tried.waiting


@pytest.mark.parametrize(
    ("text", "view"),
    [
        ("create or replace view v1.shown as select * from v1.contact", '"v1"."shown"'),
        ("create materialized view if not exists r.m as select from v1.contact", '"r"."m"'),
        ("drop view if exists v1.shown", '"v1"."shown"'),
        ("create function r.f() returns bigint language sql as $$ select count(*) from v1.contact; $$", ""),
        ("create function f() returns int begin atomic select case when true then 1 end from v1.root; end", ""),
        ("grant select on v1.contact to public", ""),
        ("revoke all on all tables in schema v1 from public", ""),
        ("alter default privileges in schema v1 grant select on tables to public", ""),
        ("alter table r.about add foreign key (uuid) references v1.root (uuid)", ""),
        ("alter table r.about drop constraint about_root", ""),
        ("create table r.about (uuid text references v1.root (uuid))", ""),
        ("alter table v1.contact add foreign key (uuid) references v1.later (uuid)", ""),
        ("create rule r as on insert to r.about do also (delete from v1.contact; delete from v1.root)", ""),
        ("alter publication p set table v1.contact", ""),
        ("do $$ begin create view r.v as select from v1.contact; end $$", ""),
    ],
)
def test_what_lasts_beside_them_waits_for_the_swap(text, view):
    for this in (text, text.replace("v1.", '"v1__next".') if "later" not in text else text):
        tried = redirect()
        said = this if view != '"v1"."shown"' else text
        assert tried.now(f"/* by dbt */ {said};", "model.p.contact", ask) == NOTHING
        (one,) = tried.waiting
        assert (one["by"], one["view"]) == ("model.p.contact", view)
        assert "v1__next" not in one["sql"]


def test_of_several_statements_each_is_where_it_belongs():
    tried = redirect()
    text = "analyze v1.contact; create view r.v as select ';' from v1.contact; delete from v1.root"
    assert tried.now(text, "", ask) == 'analyze "v1__next".contact;\n delete from "v1__next".root'
    assert [one["sql"] for one in tried.waiting] == ["create view r.v as select ';' from v1.contact"]


def test_the_statements_of_a_text():
    assert [one.strip() for one in statements("a; -- b;\n 'c;' ; $$ d; $$; /* e; */")] == [
        "a",
        "-- b;\n 'c;'",
        "$$ d; $$",
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/* a /* b; */ c; */ select 1; select 2", ["/* a /* b; */ c; */ select 1", "select 2"]),
        ("select 'a\\'; select 'b'", ["select 'a\\'", "select 'b'"]),
        ("select e'it\\'s; x'; select 2", ["select e'it\\'s; x'", "select 2"]),
        ("select $x$ ; $x$, $1; select 2", ["select $x$ ; $x$, $1", "select 2"]),
    ],
)
def test_semicolons_of_comments_and_texts_part_nothing(text, found):
    assert [one.strip() for one in statements(text)] == found
