-- A schema `api` of views over the models, and the roles with which PostgREST shows it:
--
--   authenticator    PostgREST logs in with it; by itself it may do nothing but become api_role
--   api_role         what a JWT names as its role: reads the views of api, nothing else
--   api_owner_role   owns the views, nobody logs in with it; reads the models, with their row security in force
--
-- There is no role for requests without a JWT. Run include/roles/roles.sql first, then this, in the same way and as
-- often as you like. It all happens or nothing does. Each variable has the default shown:
--
--   psql "dbname=cht_sync" -f include/postgrest/api.sql \
--     -v authenticator=authenticator -v api_role=cht_api -v api_owner_role=cht_api_owner \
--     -v dbt_role=cht_dbt -v models_schema=v1
--
-- Then give the authenticator a password by \password, which never shows it to the server's log.
\set ON_ERROR_STOP on
\set QUIET on
\if :{?authenticator}
\else
    \set authenticator authenticator
\endif
\if :{?api_role}
\else
    \set api_role cht_api
\endif
\if :{?api_owner_role}
\else
    \set api_owner_role cht_api_owner
\endif
\if :{?dbt_role}
\else
    \set dbt_role cht_dbt
\endif
\if :{?models_schema}
\else
    \set models_schema v1
\endif

begin;
set local lock_timeout = '10s';
set local search_path = pg_catalog, pg_temp;
set local client_min_messages = warning;

-- --- what has to be there -----------------------------------------------------------------------------------------

select set_config('cht_api.wrong', coalesce(string_agg(text, '; '), ''), true) as wrong
from (
    select format('there is no role %I: run include/roles/roles.sql first, or name it by -v dbt_role', :'dbt_role') as text
    where not exists (select from pg_roles where rolname = :'dbt_role')
    union all
    select format('there is no schema %I: name that of the models by -v models_schema', :'models_schema')
    where to_regnamespace(quote_ident(:'models_schema')) is null
    union all
    select 'there is a schema api of somebody else: rename it'
    from pg_namespace
    where nspname = 'api' and pg_get_userbyid(nspowner) <> :'api_owner_role'
) as wrong
\gset
do $$
begin
    if current_setting('cht_api.wrong') <> '' then
        raise exception 'Nothing was changed: %', current_setting('cht_api.wrong');
    end if;
end
$$;

-- --- the roles ----------------------------------------------------------------------------------------------------

select format('create role %I %s nosuperuser nocreatedb nocreaterole', name, options)
from (values
    (:'authenticator', 'login noinherit'), (:'api_role', 'nologin'), (:'api_owner_role', 'nologin')
) as wanted (name, options)
where not exists (select from pg_roles where rolname = name)
\gexec
-- What it may become does not count until it becomes it.
alter role :"authenticator" noinherit;
-- PostgREST applies these to each request.
-- Source: https://docs.postgrest.org/en/stable/references/transactions.html#impersonated-role-settings
alter role :"api_role" set statement_timeout = '10s';
grant :"api_role" to :"authenticator";

-- Who is no superuser has to be a member of a role to make things for it. It ends below.
create temporary table cht_joined on commit drop as
select name
from (values (:'api_owner_role'), (:'dbt_role')) as wanted (name)
where not (select rolsuper from pg_roles where rolname = current_user)
  and not exists (
      select from pg_auth_members m
      where m.roleid = (select oid from pg_roles where rolname = name)
        and m.member = (select oid from pg_roles where rolname = current_user)
        and m.grantor = (select oid from pg_roles where rolname = current_user)
  );
select format('grant %I to current_user', name) from cht_joined
\gexec

select format('grant connect on database %I to %I', current_database(), :'authenticator')
\gexec

-- --- what the owner of the views may read -------------------------------------------------------------------------

grant usage on schema :"models_schema" to :"api_owner_role";
alter default privileges for role :"dbt_role" in schema :"models_schema" grant select on tables to :"api_owner_role";
-- The models are what their role owns. Raw documents, in the same schema or not, are not among it.
select format('grant select on table %s to %I', c.oid::regclass, :'api_owner_role')
from pg_class c
where c.relnamespace = to_regnamespace(quote_ident(:'models_schema'))
  and c.relkind in ('r', 'p', 'v', 'm')
  and pg_get_userbyid(c.relowner) = :'dbt_role'
\gexec

-- --- the schema and what keeps it ---------------------------------------------------------------------------------

select format('create schema api authorization %I', :'api_owner_role')
where to_regnamespace('api') is null
\gexec
revoke all on schema api from public;
grant usage on schema api to :"api_role", :"dbt_role";
alter default privileges for role :"api_owner_role" in schema api grant select on tables to :"api_role";

select format('create or replace function api.models_schema() returns text language sql immutable as %L', format('select %L::text', :'models_schema'))
\gexec

-- Empty, and nobody's but its owner's: an advisory lock could be held by everybody who may connect.
create table if not exists api.refreshing ();
alter table api.refreshing owner to :"api_owner_role";
revoke all on api.refreshing from public, :"api_role", :"dbt_role";

-- With the rights of its owner, who may read the models and nothing else.
create or replace function api.refresh() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    models_schema constant text := api.models_schema();
    model record;
    changed integer := 0;
begin
    -- Two at once would make the same view.
    lock table api.refreshing in exclusive mode;
    for model in
        with wanted as (
            select c.oid, c.relname, a.columns
            from pg_class c
            cross join lateral (
                select array_agg(format('%I %s', attname, format_type(atttypid, atttypmod)) order by attnum) as columns
                from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
            ) as a
            where c.relnamespace = to_regnamespace(quote_ident(models_schema))
              and c.relkind in ('r', 'p', 'v', 'm')
              and has_table_privilege(c.oid, 'select')
              and a.columns is not null
              -- What dbt notes of its own runs, and half-built relations of a run under way.
              and c.relname not in (
                  'dbt_results', 'dbt_progress', 'cht_edited_keys', 'cht_edited_rows', 'couchdb_deployment', '_dataemon'
              )
              and c.relname !~ '__dbt_(tmp|backup)'
        ), there as (
            select c.oid, c.relname, a.columns,
                (select max(d.refobjid) from pg_rewrite r join pg_depend d
                    on d.classid = 'pg_rewrite'::regclass and d.objid = r.oid and d.refclassid = 'pg_class'::regclass
                 where r.ev_class = c.oid and d.refobjid <> c.oid) as reads
            from pg_class c
            cross join lateral (
                select array_agg(format('%I %s', attname, format_type(atttypid, atttypmod)) order by attnum) as columns
                from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
            ) as a
            where c.relnamespace = 'api'::regnamespace and c.relkind = 'v'
              and pg_get_userbyid(c.relowner) = current_user
        )
        select coalesce(wanted.relname, there.relname) as name, wanted.oid is not null as make, there.oid is not null as remove
        from wanted full join there on there.relname = wanted.relname
        where wanted.oid is distinct from there.reads or wanted.columns is distinct from there.columns
    loop
        if model.remove then
            execute format('drop view api.%I', model.name);
        end if;
        if model.make then
            -- security_barrier: no condition of a request is tried on rows that row security hides.
            execute format(
                'create view api.%I with (security_barrier) as select * from %I.%I', model.name, models_schema, model.name
            );
        end if;
        changed := changed + 1;
    end loop;
    if changed > 0 then
        -- PostgREST reads the schema anew once this is committed.
        notify pgrst, 'reload schema';
    end if;
    return changed;
end
$$;

-- Before models are swapped: what hangs on the old ones must not hold them up.
create or replace function api.withdraw() returns integer
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    name text;
    dropped integer := 0;
begin
    for name in
        select relname from pg_class
        where relnamespace = 'api'::regnamespace and relkind = 'v' and pg_get_userbyid(relowner) = current_user
        order by relname
    loop
        execute format('drop view api.%I', name);
        dropped := dropped + 1;
    end loop;
    return dropped;
end
$$;

select format('alter function api.%s owner to %I', signature, :'api_owner_role')
from (values ('models_schema()'), ('refresh()'), ('withdraw()')) as made (signature)
\gexec
revoke all on function api.models_schema(), api.refresh(), api.withdraw() from public;
grant execute on function api.refresh(), api.withdraw() to :"dbt_role";

select api.refresh() as views
\gset
select format('revoke %I from current_user', name) from cht_joined
\gexec

-- --- proof --------------------------------------------------------------------------------------------------------

select set_config('cht_api.too_much', coalesce(string_agg(format('%s may read %s', who, c.oid::regclass), '; '), ''), true)
    as too_much
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
cross join (values (:'authenticator'), (:'api_role')) as roles (who)
where c.relkind in ('r', 'p', 'v', 'm')
  and n.nspname not in ('pg_catalog', 'information_schema')
  and n.nspname !~ '^pg_'
  and (n.nspname <> 'api' or who = :'authenticator')
  and has_schema_privilege(who, n.oid, 'usage')
  and has_any_column_privilege(who, c.oid, 'select')
\gset
do $$
begin
    if current_setting('cht_api.too_much') <> '' then
        raise exception 'Nothing was changed: %', current_setting('cht_api.too_much')
            using hint = 'Take these rights away (superuser, memberships, grants to PUBLIC) and run this again.';
    end if;
end
$$;
commit;
\echo 'Done. A new authenticator has no password yet: give it one by the command password of psql.'
