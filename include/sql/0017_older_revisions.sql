-- A row never goes back to an older revision by itself: what CouchDB says of one waits here until it was looked at again.
create table if not exists {schema}.couchdb_older_revision (
    source varchar not null,
    key bytea not null,
    _id varchar not null,
    held varchar not null,
    claimed varchar,
    known varchar[] not null default array[]::varchar[],
    first_seen timestamptz not null default now(),
    last_seen timestamptz not null default now(),
    looked_at timestamptz,
    looks integer not null default 0,
    settled_at timestamptz,
    primary key (source, key)
);
create index if not exists couchdb_older_revision_open
    on {schema}.couchdb_older_revision (source, looked_at nulls first, key) where settled_at is null;
comment on table {schema}.couchdb_older_revision is
    'Documents of which CouchDB names an older revision than PostgreSQL holds, or none: stored only after it was looked at again.';
comment on column {schema}.couchdb_older_revision.key is 'SHA-256 of the _id.';
comment on column {schema}.couchdb_older_revision.held is 'The newest revision that PostgreSQL holds.';
comment on column {schema}.couchdb_older_revision.claimed is
    'The revision that CouchDB names; null where it says that there is no such document.';
comment on column {schema}.couchdb_older_revision.known is
    'The ends of the revision tree with which an older revision was stored, the newest first: a copy without them lags.';
comment on column {schema}.couchdb_older_revision.first_seen is 'Since when CouchDB names this revision.';
comment on column {schema}.couchdb_older_revision.looked_at is 'When CouchDB was last asked again.';
comment on column {schema}.couchdb_older_revision.looks is 'How often in a row it was asked again and named the same.';
comment on column {schema}.couchdb_older_revision.settled_at is
    'When the older revision, or a tombstone for none, was stored; it is kept in mind to tell copies that lag. Open where null.';

alter table {schema}.couchdb_progress add column if not exists doubt text;
alter table {schema}.couchdb_progress add column if not exists doubted_at timestamptz;
alter table {schema}.couchdb_progress add column if not exists made_again_at timestamp;
comment on column {schema}.couchdb_progress.doubt is
    'Why the copy may not be complete: the next cht_reconcile compares all documents, and takes the doubt away.';
comment on column {schema}.couchdb_progress.doubted_at is 'Since when.';
comment on column {schema}.couchdb_progress.made_again_at is
    'While a database that was made again is read: rows stamped up to here are of the one before, and may go to any revision.';
