-- What deployments have changed in the tables of forms. It holds no value of any report.
create table if not exists {schema}.form_notice (
    id bigint generated always as identity primary key,
    code text not null,
    deployment text not null,
    notice text not null,
    made_at timestamptz not null default now()
);
create index if not exists form_notice_made_at on {schema}.form_notice (made_at);
comment on table {schema}.form_notice is 'One row for each form whose tables a deployment has changed, or could not make.';
comment on column {schema}.form_notice.deployment is 'Version of the models with which it came.';
comment on column {schema}.form_notice.notice is 'What changed, in one sentence.';
