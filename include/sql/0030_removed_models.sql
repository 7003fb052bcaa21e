-- Relations that a newer version of the dbt project no longer makes: they stay, and must not look alive.
alter table {schema}.couchdb_deployment add column if not exists removed jsonb;
comment on column {schema}.couchdb_deployment.removed is
    'Relations that no model of the project makes any more, each with the time since when: nothing updates them.';
