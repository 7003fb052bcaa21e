"""Every kind of message of PostgreSQL that quotes a value, as statements that provoke it.

Each value is :data:`NAME`, :data:`NUMBER` or a part of them: whatever shows one of them shows a document.
"""

from __future__ import annotations

from dataclasses import dataclass

NAME = "Amina K4n4ry"
NUMBER = "254700987654"
# Parts that tell a value also where a message shows it cut, in hexadecimal or folded.
CANARIES = ("Amina", "amina", "K4n4ry", "k4n4ry", "254700", "987654", "416d696e61")

SETUP = """
create schema visits;
create type visits.mood as enum ('good', 'bad');
create domain visits.age as integer constraint age_is_sane check (value between 0 and 130);
create domain visits.filled as text not null;
create table visits.household (id text constraint household_pkey primary key, phone text constraint one_phone unique);
create table visits.person (
    id text constraint person_pkey primary key,
    household text constraint person_household references visits.household,
    age visits.age, mood visits.mood, name varchar(3), code char(2), born date, weight real, bits bit(2),
    visited int constraint visits_are_positive check (visited >= 0), sex text not null default 'f',
    small smallint, half numeric(3, 1), id_always int generated always as identity
);
create table visits.booking (room text, during int4range, exclude using gist (during with &&));
create table visits.by_year (year int, name text) partition by range (year);
create table visits.by_year_2024 partition of visits.by_year for values from (2024) to (2025);
create table visits.wide (id text, words text[]);
create index wide_id on visits.wide (id);
create view visits.elders as select id, visited from visits.person where visited > 60 with local check option;
insert into visits.household values (':name', ':number');
insert into visits.person (id, household, visited, name) values (':name', ':name', 61, 'abc');
insert into visits.booking values (':name', '[1,5)');
create function visits.to_phone(given text) returns bigint language plpgsql as
    $$ begin return given::bigint; end $$;
create function visits.to_phone_sql(given text) returns bigint language sql as $$ select given::bigint $$;
create function visits.complain(given text) returns int language plpgsql as
    $$ begin raise exception 'no such phone: %', given using detail = given, hint = given, column = given,
        table = given, constraint = given, schema = given, datatype = given; end $$;
create function visits.complain_as(code text, given text) returns int language plpgsql as
    $$ begin raise exception using errcode = code, message = given, column = given, table = given; end $$;
create function visits.run(given text) returns void language plpgsql as $$ begin execute given; end $$;
create function visits.claim(given text) returns int language plpgsql as
    $$ begin assert false, given; return 1; end $$;
create function visits.one(given text) returns int language plpgsql as
    $$ declare n int; begin case given when 'x' then n := 1; end case; return n; end $$;
create table visits.log (note text);
create function visits.guarded() returns trigger language plpgsql as
    $$ begin raise exception 'row of % is not welcome', new.note; end $$;
create trigger guarded before insert on visits.log for each row execute function visits.guarded();
create role nobody_of_visits;
""".replace(":name", NAME).replace(":number", NUMBER)


@dataclass(frozen=True)
class Provoked:
    """A statement that fails.

    :param sqlstate: that PostgreSQL gives.
    :param statement: the SQL; ``:name`` and ``:number`` stand for the values.
    :param keeps: what a person on call has to find in the message all the same.
    """

    sqlstate: str
    statement: str
    keeps: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """The statement with its values."""
        return self.statement.replace(":name", NAME).replace(":number", NUMBER)


def _of(sqlstate: str, statement: str, *keeps: str) -> Provoked:
    return Provoked(sqlstate, statement, keeps)


PROVOKED = [
    # Class 22: a value that a type, a function or a cast does not take.
    _of("22P02", "select ':name'::integer", "invalid input syntax for type integer"),
    _of("22P02", "select ':name'::bigint", "invalid input syntax for type bigint"),
    _of("22P02", "select ':name'::smallint", "invalid input syntax for type smallint"),
    _of("22P02", "select ':name'::numeric", "invalid input syntax for type numeric"),
    _of("22P02", "select ':name'::double precision", "invalid input syntax for type double precision"),
    _of("22P02", "select ':name'::real", "invalid input syntax for type real"),
    _of("22P02", "select ':name'::boolean", "invalid input syntax for type boolean"),
    _of("22P02", "select ':name'::uuid", "invalid input syntax for type uuid"),
    _of("22P02", "select ':name'::json", "invalid input syntax for type json"),
    _of("22P02", """select '{"a": ":name" x}'::jsonb""", "invalid input syntax for type json"),
    _of("22P02", """select '{"a": :number, :name}'::jsonb""", "invalid input syntax for type json"),
    _of("22P05", """select '{"name": ":name \\u0000"}'::jsonb""", "unsupported Unicode escape sequence"),
    _of("22P02", """select '{"name": ":name \\ud800"}'::jsonb""", "invalid input syntax for type json"),
    _of("22P02", "select ':name'::inet", "invalid input syntax for type inet"),
    _of("22P02", "select ':name'::cidr", "invalid input syntax for type cidr"),
    _of("22P02", "select '10.0.0.:number'::cidr", "invalid input syntax for type cidr"),
    _of("22P02", "select ':name'::macaddr", "invalid input syntax for type macaddr"),
    _of("22P02", "select ':name'::money", "invalid input syntax for type money"),
    _of("22P02", "select ':name'::oid", "invalid input syntax for type oid"),
    _of("22P02", "select ':name'::point", "invalid input syntax for type point"),
    _of("22P02", "select ':name'::tid", "invalid input syntax for type tid"),
    _of("22P02", "select ':name'::pg_lsn", "invalid input syntax for type pg_lsn"),
    _of("22P02", "select ':name'::bit(5)", "not a valid binary digit"),
    _of("22P02", "select ':name'::visits.mood", "invalid input value for enum"),
    _of("22P02", "select '{:name'::text[]", "malformed array literal"),
    _of("22P02", "select '(:name'::int4range", "malformed range literal"),
    _of("22P02", "select '{:name'::int4multirange", "malformed multirange literal"),
    _of("22P02", "select '(:name'::visits.household", "malformed record literal"),
    _of("22P02", "select array[':name']::int[]", "invalid input syntax for type integer"),
    _of("22P02", "select visits.to_phone(':name')", "invalid input syntax for type bigint"),
    _of("22P02", "select visits.to_phone_sql(':name')", "invalid input syntax for type bigint"),
    _of("22P02", "select x from jsonb_to_record('{\"x\": \":name\"}') as r (x int)", "invalid input syntax for type"),
    _of("22P02", "select * from json_populate_record(null::visits.person, '{\"age\": \":name\"}')", "type integer"),
    _of("22003", "select ':number'::integer", "out of range for type integer"),
    _of("22003", "select ':number:number'::bigint", "out of range for type bigint"),
    _of("22003", "select ':number'::smallint", "out of range for type smallint"),
    _of("22003", "select ':number'::oid", "out of range for type oid"),
    _of("22003", "select '1e:number'::double precision", "out of range for type double precision"),
    _of("22003", "select '1:number:number:number:number'::real", "out of range for type real"),
    _of("22003", "select :number::bigint::integer", "integer out of range"),
    _of("22003", "select :number::numeric(3, 1)", "numeric field overflow"),
    _of("22003", "select ':number:number'::money", "out of range for type money"),
    _of("22003", "select (:number::bigint * :number::bigint)", "bigint out of range"),
    _of("22003", "select '{\"a\": :number}'::jsonb->'a' = to_jsonb(('{\"a\": :number}'::jsonb->'a')::int)", "integer"),
    _of("22008", "select '2024-13-:number'::date", "date/time field value out of range"),
    _of("22008", "select '2024-02-31'::date", "date/time field value out of range"),
    _of("22008", "select make_time(98, 76, 54)", "time field value out of range"),
    _of("22015", "select ':number years'::interval", "interval field value out of range"),
    _of("22008", "select to_timestamp(:number:number.0)", "timestamp out of range"),
    _of("22007", "select ':name'::date", "invalid input syntax for type date"),
    _of("22007", "select ':name'::time", "invalid input syntax for type time"),
    _of("22007", "select ':name'::timestamp", "invalid input syntax for type timestamp"),
    _of("22007", "select ':name'::timestamptz", "invalid input syntax for type timestamp with time zone"),
    _of("22007", "select ':name'::interval", "invalid input syntax for type interval"),
    _of("22007", "select to_date(':name', 'YYYY')", "invalid value"),
    _of("22007", "select to_timestamp(':name', 'DD Mon YYYY')", "invalid value"),
    _of("22008", "select to_date(':number', 'YYYY :name')", ""),
    _of("22008", "select to_date('2024 :number', 'YYYY MM')", ""),
    _of("22009", "select '2024-01-01 00:00 +98:76:54'::timestamptz", "time zone displacement out of range"),
    _of("22023", "select '2024-01-01 00:00 Amina/K4n4ry'::timestamptz", "time zone"),
    _of("22023", "select now() at time zone ':name'", "time zone"),
    _of("22023", "select extract(':name' from now())", ""),
    _of("22023", "select date_trunc(':name', now())", ""),
    _of("22023", "select date_trunc('day', now(), ':name')", "time zone"),
    _of("22023", "select encode('a', ':name')", "encoding"),
    _of("22023", "select convert_from('a', ':name')", ""),
    _of("22023", "select decode(':name', 'hex')", "hexadecimal"),
    _of("22023", "select decode('%:name', 'base64')", "base64"),
    _of("22023", "select E'\\\\x:name'::bytea", ""),
    _of("22021", "select convert_from('\\x416d696e61ff', 'UTF8')", "invalid byte sequence for encoding"),
    _of("22P05", "select convert_to(':name \u0436', 'LATIN1')", "character with byte sequence"),
    _of("22001", "insert into visits.person (id, name) values ('1', ':name')", "value too long for type character"),
    _of("22001", "insert into visits.person (id, code) values ('1', ':name')", "value too long for type character"),
    _of("22026", "insert into visits.person (id, bits) values ('1', '10101')", "bit string length"),
    _of("22012", "select :number / (length(':name') - length(':name'))", "division by zero"),
    _of("2201E", "select ln(-:number)", "logarithm"),
    _of("2201F", "select sqrt(-:number)", "square root"),
    _of("2201B", "select ':name' ~ '(:name'", "invalid regular expression"),
    _of("2202E", "select array_cat(array[[':name', ':name']], array[[':name']])", ""),
    _of("54000", "select repeat(':name', 200000000)", "requested length too large"),
    _of("2200M", "select xmlparse(document '<a>:name')", ""),
    _of("22004", "select array_fill(':name'::text, null)", "null"),
    _of("22P02", "select ':name'::numeric(2)", ""),
    _of("2202E", "select json_object('{:name, 1, 2}')", ""),
    _of("22036", "select jsonb_path_query('{\"a\": \":name\"}', '$.a.double()')", "jsonpath item method"),
    _of("22023", "select ('\":name\"'::jsonb)::int", "cannot cast jsonb string to type integer"),
    _of("22P02", "select jsonb_set('{\"a\": [1]}', '{a,:name}', '1')", "path element"),
    _of("22023", "select * from jsonb_to_record('\":name\"') as r (a int)", ""),
    _of("22023", "select jsonb_object_keys('\":name\"')", "jsonb_object_keys"),
    _of("22023", "select jsonb_each('[\":name\"]')", "jsonb_each"),
    _of("22023", "select jsonb_array_elements('\":name\"')", "cannot extract elements"),
    _of("42601", "select jsonb_path_query('{\"a\": 1}', 'strict $.:name')", ""),
    _of("2203A", "select jsonb_path_query('{\"a\": 1}', 'strict $.\":name\"')", "JSON object"),
    _of("42601", "select jsonb_path_query('{}', '$.:name x')", ""),
    _of("22000", "select '[5,1)'::int4range", "range lower bound"),
    _of("42601", "select int4range(1, 2, ':name')", ""),
    _of("22003", "select lpad('a', :number::int)", ""),
    _of("22023", "select set_config('work_mem', ':name', false)", "work_mem"),
    _of("22023", "select set_config('timezone', ':name', false)", "TimeZone"),
    _of("42704", "select set_config(':name', 'x', false)", ""),
    _of("42804", "select ('{\"a\": [\":name\"]}'::jsonb)['a'][:number]", ""),
    _of("22003", "select pg_sleep(0), (':number'::numeric ^ 99999)", ""),
    _of("42601", "select to_tsquery('& :name &')", "tsquery"),
    _of("42601", "select '& :name &'::tsquery", "tsquery"),
    _of("22023", "select regexp_matches('a', 'b', ':name')", "regular expression option"),
    _of("22025", "select 'x' like 'y' escape ':name'", ""),
    _of("22025", "select 'x' like 'y' escape ':name'", "escape string"),
    _of("42601", "select to_char(1, ':name EEEE 9')", ""),
    _of("42601", "select to_number(':name', '9.9.9')", ""),
    _of("22P02", "select to_number(':name', '999')", ""),
    _of("22P02", "select to_number(':name', '999')", "invalid input syntax for type numeric"),
    _of("23502", "insert into visits.wide values ((null::visits.filled)::text, null)", ""),
    # Class 23: a row that a constraint does not take.
    _of("23502", "insert into visits.person (id, sex) values (':name', null)", 'column "sex"', 'relation "person"'),
    _of("23502", "select null::visits.filled", "domain"),
    _of("23503", "insert into visits.person (id, household) values ('1', ':number')", '"person_household"', "person"),
    _of("23503", "delete from visits.household where id = ':name'", '"person_household"', "household"),
    _of("23505", "insert into visits.household values (':name', '1')", '"household_pkey"', "household"),
    _of("23505", "insert into visits.household values ('1', ':number')", '"one_phone"', "household"),
    _of("23505", "with x as (select 1) select 1; insert into visits.wide values (':name'), (':name');"
        " create unique index twice on visits.wide (id)", '"twice"'),
    _of("23514", "insert into visits.person (id, visited) values (':name', -987654)", '"visits_are_positive"', "person"),
    _of("23514", "insert into visits.person (id, age) values (':name', 987654)", "age", '"age_is_sane"'),
    _of("23514", "select 987654::visits.age", '"age_is_sane"'),
    _of("23514", "insert into visits.by_year values (1999, ':name')", '"by_year"'),
    _of("23514", "alter table visits.person add constraint no_such_id check (id <> ':name')", '"no_such_id"', '"person"'),
    _of("23P01", "insert into visits.booking values (':name', '[2,3)')", '"booking_during_excl"', "booking"),
    _of("44000", "insert into visits.elders values (':number', 1)", '"elders"'),
    _of("428C9", "insert into visits.person (id, id_always) values (':name', 987654)", '"id_always"'),
    _of("21000", "select ':name' = (select id from visits.wide union all select ':name' union all select 'x')",
        "more than one row returned by a subquery"),
    _of("21000", "insert into visits.household values ('2', '2'), ('2', ':name')"
        " on conflict (id) do update set phone = excluded.phone", "ON CONFLICT DO UPDATE"),
    # Class P0: what people's functions say.
    _of("P0001", "select visits.complain(':name')"),
    _of("P0001", "insert into visits.log values (':name')"),
    _of("P0004", "select visits.claim(':name')"),
    _of("20000", "select visits.one(':name')"),
    _of("P0001", "do $$ begin raise ':name'; end $$"),
    _of("42P01", "select visits.complain_as('42P01', 'relation \"Amina\" does not exist')", "undefined table"),
    _of("57014", "select visits.complain_as('57014', ':name')", "query canceled"),
    _of("40001", "select visits.complain_as('40001', ':name')", "serialization failure"),
    _of("53200", "select visits.complain_as('53200', ':name')", "out of memory"),
    _of("22P02", "select visits.complain_as('22P02', ':name')", "invalid text representation"),
    _of("P0001", "do $$ begin raise '42P01: relation \"Amina\" does not exist'; end $$"),
    _of("P0001", "do $$ begin raise 'division by zero :name'; end $$"),
    _of("XX000", "select visits.complain_as('XX000', ':name')"),
    _of("42704", "select visits.complain_as(':name', 'a')", "unrecognized exception condition"),
    # Class 42: values in the text of a statement, as in one that is put together.
    _of("42601", "select ':name' 'K4n4ry' :number", "syntax error"),
    _of("42601", "select * from visits.wide where id = ''O':name''", "syntax error"),
    _of("42601", "select ':name", "unterminated quoted string"),
    _of("42601", 'select 1 as ":name', "unterminated quoted identifier"),
    _of("42601", "select visits.run('selec :name')", "syntax error"),
    _of("42601", "select :numberAmina", ""),
    _of("42703", 'select ":name" from visits.wide', "column"),
    _of("42703", "select visits.run('select \":number\" from visits.wide')", "column"),
    _of("42P01", 'select 1 from ":name"', "undefined table"),
    _of("42P01", 'select ":name".id from visits.wide', "undefined table"),
    _of("42883", 'select ":name"(1)', "function"),
    _of("42704", 'select 1::":name"', "undefined object"),
    _of("42601", "select ':name'::regtype", ""),
    _of("42P01", "select '\":name\"'::regclass", "undefined table"),
    _of("42602", "select ':name; x.'::regclass", ""),
    _of("3F000", 'create table ":name".x (a int)', "schema"),
    _of("22023", 'set role ":name"', "invalid parameter value"),
    _of("26000", 'deallocate all; execute ":name"', "invalid sql statement name"),
    _of("34000", 'fetch 1 from ":name"', "cursor"),
    _of("3B001", 'rollback to savepoint ":name"', "savepoint"),
    _of("42P21", "select ':name' collate \"C\" < ':name' collate \"POSIX\"", "collation"),
    _of("42804", "insert into visits.wide values (':name', 1)", 'column "words"'),
    _of("42804", "select case when true then 1 else ':name'::text end", "CASE types"),
    _of("54000", "insert into visits.wide values ((select string_agg(':name' || md5(i::text), '') from"
        " generate_series(1, 9000) i), null)", "index row"),
    _of("42602", "select nextval(':name'::regclass)", ""),
    _of("42P01", "select ':name' from visits.wide for update of pg_class", ""),
    _of("22P04", "copy visits.wide (id) from program 'echo :name; printf \":name\\t:number\\n\"'", ""),
    _of("22P02", "copy visits.person (visited) from program 'echo :name'", "invalid input syntax for type integer"),
    _of("22P04", "copy visits.wide (id) from program 'printf \":name\\\\t:number\\\\n\"'", "extra data"),
    _of("58P01", "copy visits.wide (id) from '/tmp/:name'", "undefined file"),
    _of("38000", "copy visits.wide (id) from program 'echo :name >&2; exit 3'", "external routine exception"),
    _of("42P05", 'deallocate all; prepare ":name" as select 1; prepare ":name" as select 1', "prepared statement"),
]  # fmt: skip

# What has no value in it, and stays as it is.
WHOLE = [
    _of("42P01", "select 1 from visits.absent", 'relation "visits.absent" does not exist'),
    _of("42P01", "select absent.id from visits.wide", 'missing FROM-clause entry for table "absent"'),
    _of("42703", "select absent from visits.wide", 'column "absent" does not exist'),
    _of("42703", "select w.absent from visits.wide w", "column w.absent does not exist"),
    _of("42703", "insert into visits.wide (absent) values (1)", 'column "absent" of relation "wide" does not exist'),
    _of("42702", "select id from visits.wide, visits.person", 'column reference "id" is ambiguous'),
    _of("42883", "select absent(1, 'a'::text)", "function absent(integer, text) does not exist"),
    _of("42883", "select 'a'::text = 1", "operator does not exist: text = integer"),
    _of("42704", "select 'a'::absent", 'type "absent" does not exist'),
    _of("3F000", "create table absent.x (a int)", 'schema "absent" does not exist'),
    _of("42P07", "create table visits.wide (a int)", 'relation "wide" already exists'),
    _of("42701", "alter table visits.wide add id text", 'column "id" of relation "wide" already exists'),
    _of("42803", "select id, count(*) from visits.wide",
        'column "wide.id" must appear in the GROUP BY clause or be used in an aggregate function'),
    _of("42804", "insert into visits.wide select 'a', 1",
        'column "words" is of type text[] but expression is of type integer'),
    _of("42804", "select 1 union select now()", "UNION types integer and timestamp with time zone cannot be matched"),
    _of("42846", "select '(1,2)'::point::int", "cannot cast type point to integer"),
    _of("42501", "set role nobody_of_visits; select 1 from visits.wide", "permission denied for schema visits"),
    _of("2BP01", "drop table visits.person", "cannot drop table visits.person because other objects depend on it"),
    _of("57014", "set local statement_timeout = 1; select pg_sleep(5)",
        "canceling statement due to statement timeout"),
    _of("25006", "set transaction read only; insert into visits.wide values ('a')",
        "cannot execute INSERT in a read-only transaction"),
    _of("22012", "select 1 / 0", "division by zero"),
    _of("22003", "select 2147483647 + 1", "integer out of range"),
    _of("23502", "insert into visits.person (id, sex) values ('7', null)",
        'null value in column "sex" of relation "person" violates not-null constraint'),
    _of("23505", "insert into visits.household select id from visits.household",
        'duplicate key value violates unique constraint "household_pkey"'),
]  # fmt: skip
