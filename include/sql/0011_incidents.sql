-- What people were told of: one row for each time that something went wrong, however many runs it lasts.
create table if not exists {schema}.couchdb_incident (
    id bigint generated always as identity primary key,
    kind varchar not null,
    subject varchar not null,
    text varchar not null,
    opened_at timestamptz not null default now(),
    last_seen timestamptz not null default now(),
    newest timestamptz,
    notified_at timestamptz,
    resolved_at timestamptz,
    recovery_notified_at timestamptz
);
create unique index if not exists couchdb_incident_open on {schema}.couchdb_incident (kind, subject)
where resolved_at is null;
create index if not exists couchdb_incident_resolved on {schema}.couchdb_incident (resolved_at);
comment on table {schema}.couchdb_incident is
    'One row for each incident: when it began and ended, and when people were told of both.';
comment on column {schema}.couchdb_incident.subject is 'What it is about: a source, a schema of models, a project.';
comment on column {schema}.couchdb_incident.text is 'What people are told; never content or ids of documents.';
comment on column {schema}.couchdb_incident.newest is
    'When the newest of what it is made of came, such as documents in quarantine; those of later days are told of again.';
