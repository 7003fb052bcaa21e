-- Which batches of microbatch models are built: dbt itself builds the newest ones only, whatever was before.
alter table {schema}.couchdb_built_model add column if not exists batches jsonb;
comment on column {schema}.couchdb_built_model.batches is
    'Of a microbatch model: until when its batches are built, and the newest document of each table that it reads, by'
    ' dbt''s unique id.';
