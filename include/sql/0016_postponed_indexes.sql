-- A first load writes less without the indexes that only readers need; what was taken away must not be forgotten.
create table if not exists {schema}.couchdb_postponed_index (
    table_name varchar not null,
    name varchar not null,
    column_name varchar not null,
    postponed_at timestamptz not null default now(),
    failed_at timestamptz,
    primary key (table_name, name)
);
comment on table {schema}.couchdb_postponed_index is
    'Indexes that a first load into an empty table has dropped: they are built, concurrently, as soon as no load is under way.';
comment on column {schema}.couchdb_postponed_index.table_name is 'Name of the table of documents.';
comment on column {schema}.couchdb_postponed_index.name is 'Name of the index.';
comment on column {schema}.couchdb_postponed_index.column_name is 'The column that it is on.';
comment on column {schema}.couchdb_postponed_index.postponed_at is 'When it was dropped.';
comment on column {schema}.couchdb_postponed_index.failed_at is
    'When Postgres last could not build it; it is tried again an hour later.';
