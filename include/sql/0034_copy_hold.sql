-- Who asks the copy to wait for a moment, so that the models can catch up with the documents.
create table if not exists {schema}.couchdb_copy_hold (
    models_schema varchar primary key,
    reason varchar not null,
    until timestamptz not null
);
comment on table {schema}.couchdb_copy_hold is
    'Why runs of cht_sync copy nothing for a moment: cht_data_tests tests again what failed while documents arrived.';
comment on column {schema}.couchdb_copy_hold.until is 'When the copy goes on in any case.';
