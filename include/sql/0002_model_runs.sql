-- What the models of a schema have seen, so that a run with nothing new need not start dbt.
create table if not exists {schema}.couchdb_model_run (
    models_schema varchar not null,
    models varchar not null,
    modelled_to timestamp,
    deployment varchar,
    succeeded_at timestamptz not null,
    primary key (models_schema, models)
);
comment on table {schema}.couchdb_model_run is
    'Newest saved_timestamp that the last good run of the models found, and the dbt deployment it used.';
