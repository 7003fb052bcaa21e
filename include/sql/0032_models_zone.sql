-- In which time zone the models of a schema compute dates: that of the session would change with the server.
alter table {schema}.couchdb_deployment add column if not exists time_zone varchar;
comment on column {schema}.couchdb_deployment.time_zone is
    'Time zone of dbt''s sessions: UTC, or that of the server where models were there before. Null until a run has noted it.';
