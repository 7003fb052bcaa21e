-- The catalogue of forms: what their definitions say, and what reports hold. It holds no value of any report.
create table if not exists {schema}.form (
    code text primary key,
    kind text not null,
    title text,
    labels jsonb,
    versions jsonb,
    repeats jsonb,
    columns jsonb,
    reports bigint not null default 0,
    first_seen timestamptz not null default now(),
    last_seen timestamp,
    removed_at timestamptz,
    error text
);
comment on table {schema}.form is 'One row for each form that a definition or a report names.';
comment on column {schema}.form.code is 'As reports name it in form.';
comment on column {schema}.form.kind is 'report, sms (defined in the app settings alone), contact or training.';
comment on column {schema}.form.labels is 'Title by language; "" where the form names none.';
comment on column {schema}.form.versions is 'Versions that definitions have named, in the order in which they were seen.';
comment on column {schema}.form.repeats is 'Paths of the repeats of all versions, outer ones before inner ones.';
comment on column {schema}.form.columns is
    'Names that tables and columns have had, as pairs of path and name; an empty path is the form itself.';
comment on column {schema}.form.reports is
    'Reports that were counted as they arrived; one that was edited counts again.';
comment on column {schema}.form.last_seen is 'saved_timestamp of its newest report that was counted.';
comment on column {schema}.form.removed_at is 'Since when no document defines it any more.';
comment on column {schema}.form.error is 'Why its definition cannot be read; null where it can.';

create table if not exists {schema}.form_field (
    code text not null,
    path text[] not null,
    position integer not null,
    column_name text,
    declared boolean not null,
    declared_type text not null,
    labels jsonb,
    choices jsonb,
    repeat text[],
    hidden boolean not null,
    note boolean not null,
    filled bigint not null default 0,
    failing jsonb,
    first_seen timestamptz not null default now(),
    last_seen timestamp,
    gone_at timestamptz,
    primary key (code, path)
);
comment on table {schema}.form_field is 'One row for each field of a form, of all versions.';
comment on column {schema}.form_field.path is 'Names below fields of a report, those of repeats too.';
comment on column {schema}.form_field.position is 'Order in the form; fields that it has no longer come last.';
comment on column {schema}.form_field.column_name is 'Of its column, or columns, in the table of the form.';
comment on column {schema}.form_field.declared is 'Whether a definition has it; false for what only reports have.';
comment on column {schema}.form_field.declared_type is 'As the definition says it; string where it says none.';
comment on column {schema}.form_field.labels is 'By language; "" where the form names none.';
comment on column {schema}.form_field.choices is 'Of a select, with their labels; null where the form lists none.';
comment on column {schema}.form_field.repeat is 'Path of the innermost repeat around it.';
comment on column {schema}.form_field.hidden is 'No person is asked for it.';
comment on column {schema}.form_field.note is 'It only shows text: reports hold nothing for it.';
comment on column {schema}.form_field.filled is
    'Values that reports have said, of each element of a repeat; those of a report that was edited count again.';
comment on column {schema}.form_field.failing is
    'How many of these do not cast to which type. Types that nobody declares are counted until one value fails; of text these are lists and objects.';
comment on column {schema}.form_field.last_seen is 'saved_timestamp of the newest report that said it.';
comment on column {schema}.form_field.gone_at is 'Until when a definition had it; null while one does.';

create table if not exists {schema}.form_definition (
    source varchar not null,
    document text not null,
    code text not null,
    digest text not null,
    version text,
    definition jsonb,
    error text,
    read_at timestamptz not null default now(),
    tried_at timestamptz not null default now(),
    replaced_at timestamptz,
    primary key (source, document, code, digest)
);
create index if not exists form_definition_code on {schema}.form_definition (code);
comment on table {schema}.form_definition is 'One row for each distinct definition of a form that was read.';
comment on column {schema}.form_definition.document is '_id of what defines it: form:… or settings.';
comment on column {schema}.form_definition.code is 'Of the form; empty for the app settings as a whole.';
comment on column {schema}.form_definition.digest is
    'Of the attachment as CouchDB says it, of the definition of an SMS form, or the revision of the app settings.';
comment on column {schema}.form_definition.definition is 'Title, fields and repeats, as they were read.';
comment on column {schema}.form_definition.error is 'Why it cannot be read; it is tried again after an hour.';
comment on column {schema}.form_definition.read_at is 'When it was read; where it cannot be read, since when.';
comment on column {schema}.form_definition.tried_at is 'When it was asked for last.';
comment on column {schema}.form_definition.replaced_at is
    'When its document was seen to say something else, or to be gone; null while it is in use.';

create table if not exists {schema}.couchdb_form_progress (
    documents varchar primary key,
    counted_to timestamp not null,
    counted_id text not null
);
comment on table {schema}.couchdb_form_progress is 'How far the reports of a table of documents are counted for form and form_field.';
comment on column {schema}.couchdb_form_progress.counted_to is 'saved_timestamp of the document that was looked at last.';
comment on column {schema}.couchdb_form_progress.counted_id is 'Its _id.';
