-- Data tests that are known to fail: they are listed, and turn nothing red.
create table if not exists {schema}.couchdb_test_acknowledgement (
    models_schema varchar not null,
    test varchar not null,
    reason varchar not null check (reason <> ''),
    acknowledged_by varchar not null default current_user,
    acknowledged_at timestamptz not null default now(),
    until date,
    at_most bigint,
    errors boolean not null default false,
    primary key (models_schema, test)
);
comment on table {schema}.couchdb_test_acknowledgement is
    'Data tests that people know to fail: a failure is listed with the reason and does not turn cht_data_tests red.';
comment on column {schema}.couchdb_test_acknowledgement.test is 'Name of the test, or its unique id in the dbt project.';
comment on column {schema}.couchdb_test_acknowledgement.reason is 'Why it may fail, for whoever comes next.';
comment on column {schema}.couchdb_test_acknowledgement.until is
    'The last day on which it counts, in UTC; null for good.';
comment on column {schema}.couchdb_test_acknowledgement.at_most is
    'Rows from which on the failure is news again, if it finds more; null for any number.';
comment on column {schema}.couchdb_test_acknowledgement.errors is
    'Whether it also counts where the test cannot be run.';
alter table {schema}.couchdb_test_result add column if not exists acknowledged varchar;
comment on column {schema}.couchdb_test_result.acknowledged is
    'Who knew of the failure, since when and why; null where it turned the run red, or did not fail.';
