-- Locks that no other role can take, as it could advisory ones: those need no right, and their numbers can be computed.
create table if not exists {schema}.couchdb_lock (
    name varchar primary key,
    pid integer,
    sign bigint,
    role varchar
);
comment on table {schema}.couchdb_lock is
    'One row for each lock of whoever copies: held by a session, or for a transaction by who has locked the row.';
comment on column {schema}.couchdb_lock.pid is 'Process of Postgres whose session took it last; free once that session has ended.';
comment on column {schema}.couchdb_lock.sign is
    'Random number of an advisory lock that the session keeps: a sign that it lives, which a reset of the session takes away, too.';
comment on column {schema}.couchdb_lock.role is 'Role of that session: another''s with the same process number does not count.';

create table if not exists {schema}.couchdb_dbt_lock (
    name varchar primary key,
    pid integer,
    sign bigint,
    role varchar
);
comment on table {schema}.couchdb_dbt_lock is 'The same for whoever runs dbt; its role has no right to couchdb_lock.';
comment on column {schema}.couchdb_dbt_lock.pid is 'Process of Postgres whose session took it last; free once that session has ended.';
comment on column {schema}.couchdb_dbt_lock.sign is 'Random number of an advisory lock that the session keeps.';
comment on column {schema}.couchdb_dbt_lock.role is 'Role of that session.';
