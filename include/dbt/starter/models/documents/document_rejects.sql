{{
  config(
    unique_key=['uuid', 'field'],
    meta={'follows': ['document_metadata'], 'always_selected': "uuid = 'settings' and left(field, 13) = 'contact_types'"},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['saved_timestamp']},
      {'columns': ['doc_type']},
      {'columns': ['field']},
    ]
  )
}}

{#- Per type of document: field, what the document holds, what the models make of it, the reason where that is null.
    The casts are those of the models, so a value is rejected here exactly when it is null there. -#}
{%- set long = 'too long for an index' -%}
{%- set no_date = 'not a date in milliseconds' -%}
{%- set no_object = 'not an object' -%}
{%- set no_number = 'not a number' -%}

{%- set reported = ['reported', "doc ->> 'reported_date'", safe_reported("doc ->> 'reported_date'"), no_date] -%}

{%- set checks = {
  'doc_type in ' ~ contact_document_types(): [
    reported,
    checked_object('parent_uuid', 'parent', no_object),
    checked_text('parent_uuid', 'parent,_id', long),
    checked_text('contact_type', 'contact_type', long),
    checked_text('place_id', 'place_id', long),
    ['muted', "doc ->> 'muted'", safe_scalar("doc -> 'muted'"), 'a list or an object'],
  ],
  "doc_type = 'data_record'": [
    reported,
    checked_text('form', 'form', long),
    checked_text('from_phone', 'from', long),
    ['patient_id', data_record_patient('doc'), safe_key(data_record_patient('doc')), long],
    checked_object('contact_uuid', 'contact', no_object),
    checked_text('contact_uuid', 'contact,_id', long),
    checked_object('parent_uuid', 'contact,parent', no_object),
    checked_text('parent_uuid', 'contact,parent,_id', long),
    checked_object('grandparent_uuid', 'contact,parent,parent', no_object),
    checked_text('grandparent_uuid', 'contact,parent,parent,_id', long),
  ],
  "doc_type = 'telemetry'": [
    [
      'period_start',
      "nullif(concat_ws('-', doc #>> '{metadata,year}', doc #>> '{metadata,month}', doc #>> '{metadata,day}'), '--')",
      telemetry_period('doc'),
      'not a date',
    ],
    checked_text('user_name', 'metadata,user', long),
    checked_text('app_version', 'metadata,versions,app', long),
    checked_number('boot_time_min', 'metrics,boot_time,min', no_number),
    checked_number('boot_time_max', 'metrics,boot_time,max', no_number),
    checked_number('boot_time_count', 'metrics,boot_time,count', no_number),
    checked_number('doc_count_on_local_db', 'dbInfo,doc_count', no_number),
    checked_text('android_version', 'device,deviceInfo,software,androidVersion', long),
    checked_number('storage_free', 'device,deviceInfo,storage,free', no_number),
    checked_number('storage_total', 'device,deviceInfo,storage,total', no_number),
    checked_number('network_up_speed', 'device,deviceInfo,network,upSpeed', no_number),
    checked_number('network_down_speed', 'device,deviceInfo,network,downSpeed', no_number),
  ],
  "doc_type = 'feedback'": [
    checked_text('user_name', 'meta,user,name', long),
    checked_text('period_start', 'meta,time', long),
  ],
  'doc_type is null': [
    checked_text('doc_type', 'type', long),
  ],
} -%}

{%- set of_settings = 'uuid, saved_timestamp, doc_type, instance, dbname, doc' -%}

with documents as not materialized (
  select
    document_metadata.uuid,
    document_metadata.saved_timestamp,
    document_metadata.doc_type,
    document_metadata.instance,
    document_metadata.dbname,
    raw.doc
  from {{ ref('document_metadata') }} as document_metadata
  inner join {{ raw() }} as raw
    on raw._id = document_metadata.uuid
    and raw._deleted is not true
  where
    true
    {{ and_new('document_metadata') }}
),

-- In every run, since those of a second server come without a change in document_metadata.
settings as (
  select
    document_metadata.uuid,
    case when living.nearness = 0 then document_metadata.saved_timestamp else living.saved_timestamp end as saved_timestamp,
    document_metadata.doc_type,
    split_part(living.source, '/', 1) as instance,
    split_part(living.source, '/', 2) as dbname,
    living.doc,
    living.source,
    living.nearness,
    case when living.nearness = 0 then '' else ' of ' || living.source end as whose
  from ({{ living_documents("'settings'") }}) as living
  inner join {{ ref('document_metadata') }} as document_metadata on document_metadata.uuid = living._id
),

configured as (
  {{ configured_contact_types('settings') }}
),

checked as (
  select documents.*, checked.*
  from documents
  cross join lateral (
    {%- for condition, fields in checks.items() %}
    select *
    from (
      values
        {%- for field, value, accepted, reason in fields %}
        ('{{ field }}', {{ value }}, ({{ accepted }})::text, '{{ reason }}'){{ ',' if not loop.last }}
        {%- endfor %}
    ) as checks
    where {{ condition }}
    {{- '\n\n    union all\n' if not loop.last }}
    {%- endfor %}
  ) as checked (field, value, accepted, reason)

  union all

  select
    {{ of_settings }},
    'contact_types' || whose,
    doc #>> '{settings,contact_types}',
    null,
    'not a list'
  from settings
  where jsonb_typeof(doc #> '{settings,contact_types}') <> 'array'

  union all

  select {{ of_settings }}, checked.field || whose, checked.value, checked.accepted, checked.reason
  from settings
  inner join configured on configured.source is not distinct from settings.source
  cross join lateral (
    values
      (
        'contact_types[' || configured.position - 1 || '].id',
        configured.element::text,
        configured.id,
        'a contact type without a usable id'
      ),
      (
        'contact_types[' || configured.position - 1 || '].person',
        configured.element ->> 'person',
        configured.person::text,
        'not a boolean'
      )
  ) as checked (field, value, accepted, reason)
)

select
  uuid,
  saved_timestamp,
  doc_type,
  instance,
  dbname,
  field,
  left(value, 200) as value,
  reason
from checked
where accepted is null
  and btrim(value, E' \t\r\n') <> ''
