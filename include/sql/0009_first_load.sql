-- The first load of a source by ranges of ids, several at once: which parts there are and how far each has come.
-- Rows stay until the source is loaded anew; one that is under way has finished_at null.
create table if not exists {schema}.couchdb_first_load (
    source varchar not null,
    part varchar not null,
    first_key varchar,
    end_key varchar,
    position varchar,
    done boolean not null default false,
    documents bigint not null default 0,
    expected bigint,
    seq varchar not null,
    instance_start_time varchar,
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    finished_at timestamptz,
    proven_at timestamptz,
    primary key (source, part)
);
comment on table {schema}.couchdb_first_load is
    'Parts of the first load of a source: ranges of ids, and the tombstones, which the changes feed alone names.';
comment on column {schema}.couchdb_first_load.first_key is
    'JSON text of the _id that the range begins with, in the order of CouchDB; null for its beginning, and for tombstones.';
comment on column {schema}.couchdb_first_load.position is
    'JSON text of the last _id that is stored; of tombstones the opaque seq that the walk has come to.';
comment on column {schema}.couchdb_first_load.documents is 'Documents of the part that are stored.';
comment on column {schema}.couchdb_first_load.expected is 'About how many documents the part has; null where nobody knows.';
comment on column {schema}.couchdb_first_load.seq is
    'Where the changes feed stood before anything was read: it becomes the checkpoint once all parts are done.';
comment on column {schema}.couchdb_first_load.finished_at is 'When all parts were done and the feed took over; the same in all parts.';
comment on column {schema}.couchdb_first_load.proven_at is 'When the proof of equality after it ended; the same in all parts.';
