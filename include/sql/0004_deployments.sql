-- Which version of the dbt project built the models, and its manifest, to tell what a newer one changed.
-- _dataemon is a table of CHT Sync 2.x: on its database it stays as it is.
create table if not exists {schema}._dataemon (
    inserted_on timestamp default (now() at time zone 'utc'),
    packages jsonb,
    manifest jsonb,
    dbt_selector text
);
-- Older releases had no selector. Whoever owns the table elsewhere need not be asked where nothing is missing.
do $$
declare
    documents constant regclass := current_setting('cht_sync.table')::regclass;
    manifests constant regclass := (
        select c.oid from pg_class c
        where c.relname = '_dataemon' and c.relnamespace = (select relnamespace from pg_class where oid = documents)
    );
begin
    if not exists (
        select from pg_attribute where attrelid = manifests and attname = 'dbt_selector' and not attisdropped
    ) then
        execute format('alter table %s add column dbt_selector text', manifests);
    end if;
end
$$;

create table if not exists {schema}.couchdb_deployment (
    models_schema varchar not null,
    models varchar not null,
    version varchar not null,
    source text not null,
    revision varchar not null,
    deployed_at timestamptz not null default now(),
    held varchar,
    primary key (models_schema, models)
);
comment on table {schema}.couchdb_deployment is
    'Version of the dbt project that the models of a schema and selection were deployed from.';
comment on column {schema}.couchdb_deployment.held is
    'What was rolled back from: it is not deployed again by itself.';
