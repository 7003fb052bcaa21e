-- The newest error of each task that fails: one row until the task succeeds. Never a secret, never a document.
create table if not exists {schema}.couchdb_task_error (
    dag_id varchar not null,
    task_id varchar not null,
    subject varchar not null default '',
    message text not null,
    tries integer not null default 1,
    first_at timestamptz not null default now(),
    last_at timestamptz not null default now(),
    run_id varchar not null default '',
    map_index integer not null default -1,
    tried_again boolean not null default false,
    primary key (dag_id, task_id, subject)
);
comment on table {schema}.couchdb_task_error is
    'Tasks that fail now, with the sentence that says why; a row goes when its task succeeds';
comment on column {schema}.couchdb_task_error.subject is 'what the task works on: a source, a model; empty where there is one';
comment on column {schema}.couchdb_task_error.message is 'the sentence with the remedy';
comment on column {schema}.couchdb_task_error.tries is 'tries that failed since first_at';
comment on column {schema}.couchdb_task_error.first_at is 'when the first try failed';
comment on column {schema}.couchdb_task_error.last_at is 'when the newest try failed';
comment on column {schema}.couchdb_task_error.run_id is 'Airflow''s run of the newest try';
comment on column {schema}.couchdb_task_error.map_index is 'number of the newest try''s instance of a mapped task; -1 for one that is not mapped';
comment on column {schema}.couchdb_task_error.tried_again is 'whether Airflow tries it again in the same run';
