-- Documents are stored without U+0000, which jsonb cannot hold: which ones were changed by that.
create table if not exists {schema}.couchdb_nul (
    key bytea primary key,
    _id varchar not null,
    rev varchar not null,
    noted_at timestamptz not null default now()
);
comment on table {schema}.couchdb_nul is
    'Revisions that are stored without U+0000, which jsonb cannot hold: the character was taken out of texts or names of fields.';
comment on column {schema}.couchdb_nul.key is 'SHA-256 of _id and revision.';
comment on column {schema}.couchdb_nul.rev is 'The revision; it says nothing of later ones.';
