-- The newest state of each document that could not become a row of the table of documents.
create table if not exists {schema}.couchdb_quarantine (
    source varchar not null,
    key bytea not null,
    _id varchar not null,
    _rev varchar,
    seq varchar,
    body bytea not null,
    body_bytes bigint not null,
    sqlstate varchar,
    reason varchar not null,
    first_seen timestamptz not null default now(),
    last_seen timestamptz not null default now(),
    attempts integer not null default 1,
    resolved_at timestamptz,
    primary key (source, key)
);
create index if not exists couchdb_quarantine_open on {schema}.couchdb_quarantine (source, last_seen)
    where resolved_at is null;
comment on table {schema}.couchdb_quarantine is
    'Documents that could not be stored, as they came, and why; open until resolved_at is set.';
comment on column {schema}.couchdb_quarantine.key is
    'SHA-256 of the _id: an _id may be longer than an index takes, or hold what text cannot.';
comment on column {schema}.couchdb_quarantine._id is
    'The _id; one that text cannot hold (U+0000, lone surrogates) is written as in JSON.';
comment on column {schema}.couchdb_quarantine.seq is 'Where the feed stood after the page that brought the document.';
comment on column {schema}.couchdb_quarantine.body is
    'The first 8 MB of the document as it came; the rest is in couchdb_quarantine_part.';

create table if not exists {schema}.couchdb_quarantine_part (
    source varchar not null,
    key bytea not null,
    part integer not null,
    body bytea not null,
    primary key (source, key, part),
    foreign key (source, key) references {schema}.couchdb_quarantine (source, key) on delete cascade
);

-- An _id belongs to one source; here is what other sources hold under it.
create table if not exists {schema}.couchdb_collision (
    _id varchar not null,
    source varchar not null,
    _deleted boolean not null,
    doc jsonb not null,
    saved_timestamp timestamp not null,
    primary key (_id, source)
);
comment on table {schema}.couchdb_collision is
    'Newest state of documents whose _id belongs to another source in the table of documents.';

alter table {schema}.couchdb_progress add column if not exists instance_start_time varchar;
alter table {schema}.couchdb_progress add column if not exists sweep_after varchar;
comment on column {schema}.couchdb_progress.instance_start_time is
    'When the CouchDB database was made: another value tells of one that was dropped and made again.';
comment on column {schema}.couchdb_progress.sweep_after is
    'While rows of documents that no longer exist are looked for: the _id that the search has come to.';
