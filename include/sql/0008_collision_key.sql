-- An _id that an index of Postgres just holds alone is too long for one beside the name of a source.
alter table {schema}.couchdb_collision add column if not exists key bytea;
update {schema}.couchdb_collision set key = sha256(convert_to(_id, 'UTF8')) where key is null;
alter table {schema}.couchdb_collision alter column key set not null;
alter table {schema}.couchdb_collision drop constraint if exists couchdb_collision_pkey;
alter table {schema}.couchdb_collision add primary key (key, source);
create index if not exists couchdb_collision_id on {schema}.couchdb_collision (_id);
comment on column {schema}.couchdb_collision.key is 'SHA-256 of the _id, which is longer than an index takes with more beside it.';
