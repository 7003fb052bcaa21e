-- Who was told of an incident: a channel that was down must not miss what another one took.
alter table {schema}.couchdb_incident add column if not exists tried_at timestamptz;
alter table {schema}.couchdb_incident add column if not exists told varchar[] not null default array[]::varchar[];
alter table {schema}.couchdb_incident add column if not exists recovery_told varchar[] not null default array[]::varchar[];
-- Through which channels the messages of before went is not known: they count as told to all.
update {schema}.couchdb_incident set tried_at = notified_at, told = array['*'] where notified_at is not null;
update {schema}.couchdb_incident set recovery_told = array['*'] where recovery_notified_at is not null;
comment on column {schema}.couchdb_incident.tried_at is 'When it was first tried to tell people of it.';
comment on column {schema}.couchdb_incident.told is
    'Channels that took the message that it began: settings, for a service of an Apprise connection with its number;'
    ' * for all.';
comment on column {schema}.couchdb_incident.recovery_told is 'Channels that took the message that it is over.';
