{{
  config(
    unique_key=['uuid', 'field'],
    meta={
      'follows': ['document_metadata'],
      'rests_on': ['contact_type'],
      'tombstone': 'reason is null',
      'kept': "old.field ~ '^(form|contact)_[a-z0-9_]+: '",
      'always_selected': "uuid = 'settings' and left(field, 13) = 'contact_types'",
    },
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['saved_timestamp']},
      {'columns': ['doc_type']},
      {'columns': ['field']},
    ]
  )
}}

{#- Per type of document, the columns of its models and what may be wrong with them. -#}
{%- set reported = [
  'reported', said_at(['reported_date']), safe_reported("body.reported_date #>> '{}'"), "'not a date in milliseconds'"
] -%}
{%- set type_of_contact = contact_type_of('document_metadata.doc_type') -%}
{%- set is_person = contact_is_person('by_source', 'contact_type') -%}
{%- set device = ['device', 'deviceInfo'] -%}

{%- set checks = {
  'document_metadata.doc_type in ' ~ contact_document_types(): [
    reported,
    checked_id('parent_uuid', [['parent', '_id']]),
    checked_text('name', ['name']),
    [
      'contact_type',
      'coalesce(' ~ type_of_contact ~ ', ' ~ said_at(['contact_type']) ~ ', document_metadata.doc_type)',
      'case when ' ~ type_of_contact ~ ' is not null then ' ~ is_person ~ ' end',
      'case when ' ~ type_of_contact ~ " is not null then 'a type that no settings know: neither person nor place' else "
        ~ too_long_or(said_at(['contact_type']), 'not a contact type') ~ ' end',
    ],
    checked_text('active', ['is_active']),
    checked_text('notes', ['notes']),
    [
      'muted',
      'case when (' ~ safe_boolean("body.muted #>> '{}'") ~ ') is not false then ' ~ said_at(['muted']) ~ ' end',
      safe_muted("body.muted #>> '{}'"),
      "'neither true or false nor a time'",
    ],
  ],
  'document_metadata.doc_type in ' ~ contact_document_types() ~ ' and (' ~ is_person ~ ')': [
    checked_text('sex', ['sex']),
    checked_text('phone', ['phone']),
    checked_text('phone2', ['alternative_phone']),
    checked_id('patient_id', [['patient_id']]),
  ],
  'document_metadata.doc_type in ' ~ contact_document_types() ~ ' and not (' ~ is_person ~ ')': [
    checked_id('contact_id', [['contact_id']]),
    checked_id('place_id', [['place_id']]),
  ],
  "document_metadata.doc_type = 'data_record'": [
    reported,
    checked_id('form', [['form']], 'not a code'),
    checked_id('from_phone', [['from']], 'not a phone number'),
    checked_id('patient_id', data_record_patient()),
    checked_id('place_id', data_record_place()),
    checked_id('contact_uuid', [['contact', '_id']]),
    checked_id('parent_uuid', [['contact', 'parent', '_id']]),
    checked_id('grandparent_uuid', [['contact', 'parent', 'parent', '_id']]),
  ],
  "document_metadata.doc_type = 'telemetry'": [
    ['period_start', telemetry_period_said(), period_of('body.metadata'), telemetry_period_reason()],
    checked_id('user_name', [['metadata', 'user']], 'not a name'),
    checked_id('app_version', [['metadata', 'versions', 'app']], 'not a version'),
    checked_number('boot_time_min', ['metrics', 'boot_time', 'min']),
    checked_number('boot_time_max', ['metrics', 'boot_time', 'max']),
    checked_number('boot_time_count', ['metrics', 'boot_time', 'count']),
    checked_number('doc_count_on_local_db', ['dbInfo', 'doc_count']),
    checked_text('device_manufacturer', device + ['hardware', 'manufacturer']),
    checked_text('device_model', device + ['hardware', 'model']),
    checked_text('user_agent', ['device', 'userAgent']),
    checked_text('cht_android_version', device + ['app', 'version']),
    checked_id('android_version', [device + ['software', 'androidVersion']], 'not a version'),
    checked_number('storage_free', device + ['storage', 'free']),
    checked_number('storage_total', device + ['storage', 'total']),
    checked_number('network_up_speed', device + ['network', 'upSpeed']),
    checked_number('network_down_speed', device + ['network', 'downSpeed']),
  ],
  "document_metadata.doc_type = 'feedback'": [
    checked_text('source', ['meta', 'source']),
    checked_text('url', ['meta', 'url']),
    checked_id('user_name', [['meta', 'user', 'name']], 'not a name'),
    ['period_start', said_at(['meta', 'time']), safe_time(value_at(['meta', 'time']) ~ " #>> '{}'"), "'not a time'"],
    ['cause', text_of(value_at(['info', 'cause'])), feedback_cause(), "'a list or an object'"],
    ['message', text_of(value_at(['info', 'message'])), safe_text(value_at(['info', 'message'])), "'a list or an object'"],
  ],
  'document_metadata.doc_type is null': [
    [
      'doc_type',
      text_of('body.type'),
      safe_type('body.type'),
      "case when jsonb_typeof(body.type) <> 'string' then 'not a text' else "
        ~ too_long_or(text_of('body.type'), 'differs from a type of the CHT by upper case or blanks') ~ ' end',
    ],
  ],
} -%}

{%- set user_checks = [
  checked_id('contact_uuid', user_contact()),
  checked_text('language', ['settings', 'language']),
  [
    'roles',
    'coalesce(' ~ said_at(['settings', 'roles']) ~ ', ' ~ said_at(['login', 'roles']) ~ ')',
    'coalesce(' ~ safe_list(value_at(['settings', 'roles'])) ~ ', ' ~ safe_list(value_at(['login', 'roles'])) ~ ')',
    "'not a list of texts'",
  ],
] -%}

{%- set of_document = [
  'document_metadata.uuid', 'document_metadata.saved_timestamp', 'document_metadata.doc_type',
  'document_metadata.instance', 'document_metadata.dbname',
] | join(', ') -%}
{%- set of_settings = 'uuid, saved_timestamp, doc_type, instance, dbname' -%}

-- In every run, since those of a second server come without a change in document_metadata.
with settings as (
  select
    document_metadata.uuid,
    case when living.nearness = 0 then document_metadata.saved_timestamp else living.saved_timestamp end as saved_timestamp,
    document_metadata.doc_type,
    split_part(living.source, '/', 1) as instance,
    substr(living.source, strpos(living.source, '/') + 1) as dbname,
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
  select {{ of_document }}, checked.*
  from {{ ref('document_metadata') }} as document_metadata
  inner join {{ raw() }} as raw
    on raw._id = document_metadata.uuid
    and raw._deleted is not true
  cross join lateral {{ fields_of('raw.doc', [
    'type', 'reported_date', 'parent', 'name', 'contact_type', 'is_active', 'notes', 'muted', 'sex', 'phone',
    'alternative_phone', 'patient_id', 'contact_id', 'place_id', 'form', 'from', 'fields', 'contact', 'metadata', 'metrics',
    'dbInfo', 'device', 'meta', 'info',
  ]) }}
  left join {{ ref('contact_type') }} as contact_type
    on document_metadata.doc_type in {{ contact_document_types() }}
    and contact_type.id = {{ type_of_contact }}
  left join {{ contact_types_by_source(ref('contact_type')) }} as by_source
    on by_source.source = raw.source
    and by_source.id = contact_type.id
  cross join lateral (
    {%- for condition, fields in checks.items() %}
    select *
    from (
      values
        {%- for field, said, accepted, reason in fields %}
        ('{{ field }}', {{ said }}, ({{ accepted }})::text, {{ reason }}){{ ',' if not loop.last }}
        {%- endfor %}
    ) as checks
    where {{ condition }}
    {{- '\n\n    union all\n' if not loop.last }}
    {%- endfor %}
  ) as checked (field, value, accepted, reason)
  where
    checked.accepted is null
    and checked.value is not null
    {{ and_new('document_metadata') }}

  union all

  -- Of users also what is in order: their documents in couchdb_collision come without a change in document_metadata too.
  select
    {{ of_document }},
    checked.field,
    checked.value,
    checked.accepted,
    case when checked.accepted is null and checked.value is not null and body.settings is not null then checked.reason end
  from {{ users_to_read() }} as body
  inner join {{ ref('document_metadata') }} as document_metadata on document_metadata.uuid = body.uuid
  cross join lateral (
    values
      {%- for field, said, accepted, reason in user_checks %}
      ('{{ field }}', {{ said }}, ({{ accepted }})::text, {{ reason }}){{ ',' if not loop.last }}
      {%- endfor %}
  ) as checked (field, value, accepted, reason)

  union all

  -- The copy takes U+0000 out of a document, since jsonb cannot hold it.
  select
    {{ of_document }},
    'document',
    note.rev,
    null,
    'U+0000 was taken out of its texts or names of fields'
  from {{ nul_notes() }} as note
  inner join {{ raw() }} as raw
    on raw._id = note._id
    and raw._deleted is not true
    and raw.doc ->> '_rev' = note.rev
  inner join {{ ref('document_metadata') }} as document_metadata on document_metadata.uuid = note._id
  where
    true
    {{ and_new('document_metadata') }}

  union all

  select
    {{ of_settings }},
    'contact_types' || whose,
    {{ text_of("(doc #> '{settings,contact_types}')") }},
    null,
    'not a list'
  from settings
  where jsonb_typeof(doc #> '{settings,contact_types}') <> 'array'
    and ({{ text_of("(doc #> '{settings,contact_types}')") }}) is not null

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
        {{ text_of("(configured.element -> 'person')") }},
        configured.person::text,
        'not a boolean'
      )
  ) as checked (field, value, accepted, reason)
  where
    checked.accepted is null
    and checked.value is not null
)

-- One row for each column; an entry of the index on both holds 2,704 bytes.
select distinct on (uuid, field)
  uuid,
  saved_timestamp,
  doc_type,
  instance,
  dbname,
  field,
  left(value, 200) as value,
  reason
from checked
where octet_length(uuid) + octet_length(field) <= 2600
order by uuid, field, reason
