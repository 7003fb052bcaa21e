-- What the data tests of the dbt project have found, kept for 90 days.
create table if not exists {schema}.couchdb_test_result (
    models_schema varchar not null,
    run varchar not null,
    test varchar not null,
    model varchar,
    status varchar not null,
    failures bigint,
    message varchar not null,
    seconds double precision,
    at timestamptz not null default now(),
    primary key (models_schema, run, test)
);
create index if not exists couchdb_test_result_at on {schema}.couchdb_test_result (at);
comment on table {schema}.couchdb_test_result is 'How each data test of the dbt project ended, by run of cht_data_tests.';
comment on column {schema}.couchdb_test_result.run is 'Airflow''s id of the run.';
comment on column {schema}.couchdb_test_result.status is 'pass, warn, fail, error or skipped, as dbt says.';
comment on column {schema}.couchdb_test_result.failures is 'Rows that the test found; null where it could not be run.';
