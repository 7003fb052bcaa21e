-- Messages that an earlier version has stored end before the first thing in quotes, which may be a value of a document.
-- Those of models and tasks that still fail are written anew by the next run.
update {schema}.couchdb_quarantine
set reason = regexp_replace(reason, '[:]?\s*["''«»„“‘「《].*$', ' …')
where reason like 'Postgres:%' and reason ~ '["''«»„“‘「《]';
update {schema}.couchdb_model_result
set message = regexp_replace(message, '[:]?\s*["''«»„“‘「《].*$', ' …')
where failing_since is not null and status <> 'shrunk' and message ~ '["''«»„“‘「《]';
update {schema}.couchdb_task_error
set message = regexp_replace(message, '(: |\mvalue )["''«»„“‘「《].*["''«»“”’」》]', '\1…')
where message ~ '(: |\mvalue )["''«»„“‘「《]';
comment on column {schema}.couchdb_quarantine.reason is
    'Why, without any value of the document; what PostgreSQL said is cut where it may hold one.';
comment on column {schema}.couchdb_model_result.message is
    'What dbt or the check said, without any value of a document.';
