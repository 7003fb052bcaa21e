-- How each model ended the last time, what it is held to, and since when it fails.
create table if not exists {schema}.couchdb_model_result (
    models_schema varchar not null,
    model varchar not null,
    name varchar not null,
    status varchar not null,
    message varchar,
    seconds double precision,
    row_count bigint,
    accepted_row_count bigint,
    failing_since timestamptz,
    failures integer not null default 0,
    documents_at_fault varchar[],
    ended_at timestamptz not null default now(),
    primary key (models_schema, model)
);
comment on table {schema}.couchdb_model_result is
    'The newest result of each dbt model, and since when it is not as it should be.';
comment on column {schema}.couchdb_model_result.status is
    'success, error, skipped (behind one that failed), or shrunk (fewer rows than is believed without a person).';
comment on column {schema}.couchdb_model_result.row_count is
    'Rows after the run; of a large table as many as Postgres estimates.';
comment on column {schema}.couchdb_model_result.accepted_row_count is
    'Rows of the last run that was not held to have shrunk: what the next one is compared with.';

alter table {schema}.couchdb_model_run add column if not exists newest timestamp;
comment on column {schema}.couchdb_model_run.newest is
    'Newest saved_timestamp of a document when modelled_to was noted: the lag of the models is the difference.';
