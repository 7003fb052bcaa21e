-- A triggerer that is started again must not ask for a run that is under way already.
alter table {schema}.couchdb_progress add column if not exists asked_at timestamptz;
comment on column {schema}.couchdb_progress.asked_at is
    'When a change in CouchDB last asked for a run, with CHT_SYNC_MODE event or both.';
