-- Which of several sources that hold the same _id has the row: the one that the settings name first.
create table if not exists {schema}.couchdb_source (
    source varchar primary key,
    rank integer not null,
    settled_at timestamptz
);
comment on table {schema}.couchdb_source is
    'The sources that are copied, in the order of the settings: of those that hold the same _id the first that lives has the row.';
comment on column {schema}.couchdb_source.source is 'Name of the source: <host>/<database>.';
comment on column {schema}.couchdb_source.rank is 'Its place in the order, 1 for the first; a source that is not here comes behind all others.';
comment on column {schema}.couchdb_source.settled_at is
    'When the rows that were there had been given to their owners by this order; null until then, the same in all rows.';
