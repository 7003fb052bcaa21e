-- What the status page shows without counting anything.
alter table {schema}.couchdb_progress add column if not exists drained_at timestamptz;
update {schema}.couchdb_progress set drained_at = updated_at where drained_at is null and pending = 0;
comment on column {schema}.couchdb_progress.drained_at is
    'When the feed was last read to its end; null while it was not since it was read from its beginning.';

alter table {schema}.couchdb_model_result add column if not exists recent_seconds double precision[];
alter table {schema}.couchdb_model_result add column if not exists held varchar;
comment on column {schema}.couchdb_model_result.recent_seconds is 'How long the last 30 runs took, the newest last.';
comment on column {schema}.couchdb_model_result.held is
    'Why the newest run held the model back; null where it did not. The other columns tell of its last result.';

create index if not exists couchdb_collision_source on {schema}.couchdb_collision (source, key);
create index if not exists couchdb_window_beginning on {schema}.couchdb_window (source, ended_at) where seq_from is null;
