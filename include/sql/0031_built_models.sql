-- What the tables of the models looked like when the project itself built them: what is changed by hand is found out.
create table if not exists {schema}.couchdb_built_model (
    models_schema varchar not null,
    relation varchar not null,
    columns jsonb not null,
    built_at timestamptz not null default now(),
    primary key (models_schema, relation)
);
comment on table {schema}.couchdb_built_model is
    'Columns of each table that dbt adds to from run to run, as dbt made it: the next run of the models compares.';
comment on column {schema}.couchdb_built_model.columns is 'Type of each column, by its name.';
comment on column {schema}.couchdb_built_model.built_at is 'When dbt made or changed the columns.';
