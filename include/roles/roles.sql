-- Three roles with no more rights than each needs, on an empty database as on a live one of CHT Sync 2.x:
--
--   sync_role       owns the raw documents and their bookkeeping, and sees no model
--   dbt_role        owns the models, reads the raw documents, and notes from which project the models come
--   dashboard_role  reads the models; raw documents and what could not be stored stay closed to it
--
-- Run it in the database of the documents, as a superuser or as the owner of the database with CREATEROLE; as often as
-- you like. It all happens or nothing does. Each variable has the default shown:
--
--   psql "dbname=cht_sync" -f include/roles/roles.sql \
--     -v sync_role=cht_sync -v dbt_role=cht_dbt -v dashboard_role=cht_dashboard \
--     -v raw_schema=v1 -v raw_table=couchdb -v models_schema=v1
--
-- The roles are made without a password. Give each one by \password, which never shows it to the server's log.
\set ON_ERROR_STOP on
\set QUIET on
\if :{?sync_role}
\else
    \set sync_role cht_sync
\endif
\if :{?dbt_role}
\else
    \set dbt_role cht_dbt
\endif
\if :{?dashboard_role}
\else
    \set dashboard_role cht_dashboard
\endif
\if :{?raw_schema}
\else
    \set raw_schema v1
\endif
\if :{?raw_table}
\else
    \set raw_table couchdb
\endif
\if :{?models_schema}
\else
    \set models_schema :raw_schema
\endif
-- Where models are built before they replace those in use, out of sight of the dashboards.
select :'models_schema' || '__next' as next_schema
\gset

begin;
-- A table in use is not waited for: rather run this again than make everybody queue behind it.
set local lock_timeout = '10s';
set local search_path = pg_catalog, pg_temp;
set local client_min_messages = warning;

-- --- the roles ----------------------------------------------------------------------------------------------------

create temporary table cht_wanted on commit drop as
select * from (values
    ('sync', :'sync_role'), ('dbt', :'dbt_role'), ('dashboard', :'dashboard_role')
) as wanted (part, name);

select format('create role %I login nosuperuser nocreatedb nocreaterole', name)
from cht_wanted
where not exists (select from pg_roles where rolname = name)
\gexec

-- Who is no superuser has to be a member of a role to give it tables or to say what it grants. It ends below.
create temporary table cht_joined on commit drop as
select name
from cht_wanted
where part <> 'dashboard'
  and not (select rolsuper from pg_roles where rolname = current_user)
  and not exists (
      select from pg_auth_members m
      where m.roleid = (select oid from pg_roles where rolname = name)
        and m.member = (select oid from pg_roles where rolname = current_user)
        and m.grantor = (select oid from pg_roles where rolname = current_user)
  );

select format('grant %I to current_user', name) from cht_joined
\gexec

-- --- the schemas: nobody's, so that neither role can drop what the other has in it -------------------------------

select format('create schema %I', name)
from (values (:'raw_schema'), (:'models_schema'), (:'next_schema')) as wanted (name)
where not exists (select from pg_namespace where nspname = name)
group by name
\gexec

select format('alter schema %I owner to current_user', nspname)
from pg_namespace
where nspname in (:'raw_schema', :'models_schema', :'next_schema')
  and pg_get_userbyid(nspowner) in (select name from cht_wanted)
\gexec

-- --- who may connect ----------------------------------------------------------------------------------------------

-- Roles that were given something here, such as those of dashboards in use, go on to get in once PUBLIC does not.
select distinct format('grant connect on database %I to %I', current_database(), r.rolname)
from (
    select relacl as acl from pg_class
    where relnamespace in (select oid from pg_namespace where nspname in (:'raw_schema', :'models_schema'))
    union all
    select nspacl from pg_namespace where nspname in (:'raw_schema', :'models_schema')
) as given
cross join lateral aclexplode(given.acl) as entry
join pg_roles as r on r.oid = entry.grantee
\gexec

select format('revoke all on database %I from public', current_database())
\gexec
select format('revoke all on database %I from %I, %I, %I', current_database(), :'sync_role', :'dbt_role', :'dashboard_role')
\gexec
-- Temporary tables: the sync's for a page, dbt's for what an incremental model selects.
select format('grant connect, temporary on database %I to %I, %I', current_database(), :'sync_role', :'dbt_role')
\gexec
select format('grant connect on database %I to %I', current_database(), :'dashboard_role')
\gexec

revoke all on schema :"raw_schema", :"models_schema", :"next_schema" from public, :"sync_role", :"dbt_role", :"dashboard_role";
grant usage, create on schema :"raw_schema" to :"sync_role";
grant usage on schema :"raw_schema" to :"dbt_role";
grant usage, create on schema :"models_schema", :"next_schema" to :"dbt_role";
grant usage on schema :"models_schema" to :"dashboard_role";

select 'revoke create on schema public from public'
where exists (select from pg_namespace where nspname = 'public' and has_schema_privilege('public', oid, 'create'))
  and pg_has_role((select nspowner from pg_namespace where nspname = 'public'), 'usage')
\gexec

-- --- what each will make ------------------------------------------------------------------------------------------

alter default privileges for role :"sync_role" revoke execute on functions from public;
alter default privileges for role :"dbt_role" revoke execute on functions from public;
alter default privileges for role :"sync_role" in schema :"raw_schema" grant select on tables to :"dbt_role";
alter default privileges for role :"dbt_role" in schema :"models_schema" grant select on tables to :"dashboard_role";

-- --- what is there already ----------------------------------------------------------------------------------------

-- The tables of the sync, by name, since its schema may hold models too.
create temporary table cht_raw on commit drop as
select
    c.oid,
    c.oid::regclass as relation,
    c.relowner,
    -- What the models come from and what was built is noted by their own role, in the transaction that swaps them.
    c.relname in ('couchdb_deployment', '_dataemon', 'couchdb_built_model', 'couchdb_dbt_lock') as is_for_dbt
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = :'raw_schema'
  and c.relkind in ('r', 'p')
  and (
      c.relname = :'raw_table'
      or c.relname in (
          'couchdb_progress', 'couchdb_migration', 'couchdb_model_run', 'couchdb_model_result',
          'couchdb_quarantine', 'couchdb_quarantine_part', 'couchdb_collision', 'couchdb_test_result',
          'couchdb_deployment', '_dataemon',
          'couchdb_window', 'couchdb_reconciliation', 'couchdb_listing', 'couchdb_first_load', 'couchdb_incident',
          'couchdb_postponed_index', 'couchdb_source', 'couchdb_task_error', 'couchdb_older_revision',
          'couchdb_lock', 'couchdb_dbt_lock', 'couchdb_built_model',
          'couchdb_nul', 'couchdb_test_acknowledgement', 'couchdb_copy_hold',
          'form', 'form_field', 'form_definition', 'couchdb_form_progress', 'form_notice'
      )
      -- What the sync has made since, and documents in a table of another name.
      or pg_get_userbyid(c.relowner) = :'sync_role'
  );

-- What a table runs is run with the rights of who writes it: none is taken over with code of a role that can be trusted
-- no more than dbt's.
with trusted as (
    select oid from pg_roles
    where rolsuper or rolname in (current_user, :'sync_role')
       or oid in (select datdba from pg_database where datname = current_database())
), part (classid, objid, relation) as (
    select 'pg_class'::regclass, oid, relation from cht_raw
    union all select 'pg_trigger'::regclass, t.oid, relation from pg_trigger t join cht_raw r on r.oid = tgrelid
    union all select 'pg_attrdef'::regclass, d.oid, relation from pg_attrdef d join cht_raw r on r.oid = adrelid
    union all select 'pg_constraint'::regclass, k.oid, relation from pg_constraint k join cht_raw r on r.oid = conrelid
    union all select 'pg_class'::regclass, indexrelid, relation from pg_index join cht_raw r on r.oid = indrelid
    union all select 'pg_rewrite'::regclass, w.oid, relation from pg_rewrite w join cht_raw r on r.oid = ev_class
    union all select 'pg_policy'::regclass, p.oid, relation from pg_policy p join cht_raw r on r.oid = polrelid
), used (relation, name, owner) as (
    select part.relation, f.oid::regprocedure::text, f.proowner
    from part join pg_depend d using (classid, objid)
    join pg_proc f on d.refclassid = 'pg_proc'::regclass and f.oid = d.refobjid
    union all
    select part.relation, o.oid::regoperator::text, o.oprowner
    from part join pg_depend d using (classid, objid)
    join pg_operator o on d.refclassid = 'pg_operator'::regclass and o.oid = d.refobjid
    union all
    select part.relation, t.oid::regtype::text, t.typowner
    from part join pg_depend d using (classid, objid)
    join pg_type t on d.refclassid = 'pg_type'::regclass and t.oid = d.refobjid
)
select set_config('cht_roles.strange', coalesce(
    string_agg(distinct format('%s uses %s of role %s', relation, name, pg_get_userbyid(owner)), '; '), ''), true) as strange
from used where owner not in (select oid from trusted)
\gset
do $$
begin
    if current_setting('cht_roles.strange') <> '' then
        raise exception 'Nothing was changed: %', current_setting('cht_roles.strange')
            using hint = 'Drop these triggers, defaults, constraints, indexes, rules or policies, or give what they use to a role that is trusted, and run this again.';
    end if;
end
$$;

select format('alter table %s owner to %I', relation, :'sync_role')
from cht_raw
where pg_get_userbyid(relowner) <> :'sync_role'
\gexec
select format('revoke all on table %s from public, %I, %I', relation, :'dbt_role', :'dashboard_role') from cht_raw
\gexec
select format('grant %s on table %s to %I', case when is_for_dbt then 'select, insert, update, delete' else 'select' end, relation, :'dbt_role')
from cht_raw
\gexec

-- Everything else in the schema of the models: tables and views, and sequences that belong to no column.
create temporary table cht_model on commit drop as
select c.oid, c.oid::regclass as relation, c.relowner, c.relkind
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
where n.nspname = :'models_schema'
  and c.relkind in ('r', 'p', 'v', 'm', 'S')
  and c.oid not in (select oid from cht_raw)
  and not exists (
      select from pg_depend d
      where d.classid = 'pg_class'::regclass and d.objid = c.oid
        and (d.deptype = 'e' or (c.relkind = 'S' and d.deptype in ('a', 'i')))
  );

select format(
    'alter %s %s owner to %I',
    case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'S' then 'sequence' else 'table' end,
    relation,
    :'dbt_role'
)
from cht_model
where pg_get_userbyid(relowner) <> :'dbt_role'
\gexec
select format('revoke all on %s %s from public, %I', case relkind when 'S' then 'sequence' else 'table' end, relation, :'sync_role')
from cht_model
\gexec
select format('grant select on table %s to %I', relation, :'dashboard_role') from cht_model where relkind <> 'S'
\gexec

select format('revoke %I from current_user', name) from cht_joined
\gexec

-- --- proof --------------------------------------------------------------------------------------------------------

-- Rights may come in other ways too: a membership, a superuser, a grant on a column.
select set_config('cht_roles.too_much', coalesce(string_agg(format('%s may %s %s', who, what, relation), '; '), ''), true)
    as too_much
from (
    select :'dashboard_role' as who, 'read' as what, relation
    from cht_raw
    where has_any_column_privilege(:'dashboard_role', oid, 'select')
    union all
    select :'dbt_role', 'write', relation
    from cht_raw
    where (not is_for_dbt and has_any_column_privilege(:'dbt_role', oid, 'insert, update'))
       or (not is_for_dbt and has_table_privilege(:'dbt_role', oid, 'delete'))
       or has_table_privilege(:'dbt_role', oid, 'truncate, trigger')
    union all
    select :'sync_role', 'read or write', relation
    from cht_model
    where relkind <> 'S'
      and (
          has_any_column_privilege(:'sync_role', oid, 'select, insert, update')
          or has_table_privilege(:'sync_role', oid, 'delete, truncate')
      )
) as excess
\gset
do $$
begin
    if current_setting('cht_roles.too_much') <> '' then
        raise exception 'Nothing was changed: %', current_setting('cht_roles.too_much')
            using hint = 'Take these rights away (superuser, memberships, grants by other roles) and run this again.';
    end if;
end
$$;
commit;
\echo 'Done. A new role has no password yet: give it one by the command password of psql.'
