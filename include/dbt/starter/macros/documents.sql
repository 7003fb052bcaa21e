{#- The `type` of documents that are contacts: configured types share `contact`, the others are the built-in ones. -#}
{% macro contact_document_types() -%}
('contact', 'clinic', 'district_hospital', 'health_center', 'person')
{%- endmacro %}

{#- The `type` of documents that a model is made of. -#}
{% macro modelled_types() -%}
('contact', 'clinic', 'district_hospital', 'health_center', 'person', 'data_record', 'telemetry', 'feedback', 'user-settings', 'user')
{%- endmacro %}

{#- Whether contacts of a type are persons: null where nobody says it, since no settings know the type or what they say is
    no answer. `configured` is what settings say of it, a relation with the columns id and person. -#}
{% macro type_is_person(id, configured) -%}
case
  when {{ id }} = 'person' then true
  when {{ configured }}.id is not null then {{ configured }}.person
  when {{ id }} in {{ cht_starter.contact_document_types() }} and {{ id }} <> 'contact' then false
end
{%- endmacro %}

{#- Whether a contact is a person, by the settings of its own source where it has some. -#}
{% macro contact_is_person(by_source, contact_type) -%}
case when {{ by_source }}.source is null then {{ contact_type }}.person else {{ by_source }}.person end
{%- endmacro %}

{#- The raw table may be ahead of `relation`, a row of document_metadata: a document deleted or of another type since is
    left for the next run to place. Comparing stamps first spares nearly all documents a look inside. -#}
{% macro still_of_its_type(relation) -%}
raw._deleted is not true
  and (raw.saved_timestamp = {{ relation }}.saved_timestamp or raw.doc ->> 'type' = {{ relation }}.doc_type)
{%- endmacro %}

{#- Whether an id is one of those that CouchDB gives users, and the CHT their settings. -#}
{% macro is_user(id) -%}
left({{ id }}, 17) = 'org.couchdb.user:'
{%- endmacro %}

{#- Whom a report is about: at the top in reports by SMS, among the fields in those of the app. -#}
{% macro data_record_patient() %}
  {{- return([['patient_id'], ['fields', 'patient_id'], ['fields', 'patient_uuid']]) -}}
{% endmacro %}

{% macro data_record_place() %}
  {{- return([['place_id'], ['fields', 'place_id']]) -}}
{% endmacro %}

{#- The type of a contact: the configured one, or the `type` of contacts made before types could be configured. -#}
{% macro contact_type_of(doc_type) -%}
coalesce(
  {{ cht_starter.safe_id('body.contact_type') }},
  case when {{ doc_type }} <> 'contact' then {{ doc_type }} end
)
{%- endmacro %}

{#- The contact types of settings documents, in their order; `settings` is a relation as living_documents makes it. -#}
{% macro configured_contact_types(settings) %}
  select
    settings.source,
    settings.nearness,
    entry.value as element,
    entry.position,
    {{ cht_starter.safe_id("(entry.value -> 'id')") }} as id,
    case
      when ({{ cht_starter.text_of("(entry.value -> 'person')") }}) is null then false
      else {{ cht_starter.safe_boolean("(entry.value ->> 'person')") }}
    end as person
  from {{ settings }} as settings
  cross join lateral jsonb_array_elements(
    case
      when jsonb_typeof(settings.doc #> '{settings,contact_types}') = 'array'
        then settings.doc #> '{settings,contact_types}'
      else '[]'
    end
  ) with ordinality as entry (value, position)
{% endmacro %}

{#- Whether contacts of a type are persons by the settings of each source, for all of `types`, a relation with a column
    id. A source without settings has no rows: for its contacts contact_type says it. Of types configured twice the first
    counts, as in the CHT. -#}
{% macro contact_types_by_source(types) -%}
(
  with settings as materialized (
    {{ cht_starter.living_documents("'settings'") }}
  ),

  configured as (
    {{ cht_starter.configured_contact_types('settings') }}
  ),

  first_configured as (
    select distinct on (source, id) source, id, person
    from configured
    where id is not null
    order by source, id, position
  )

  select
    settings.source,
    types.id,
    {{ cht_starter.type_is_person('types.id', 'first_configured') }} as person
  from settings
  cross join {{ types }} as types
  left join first_configured
    on first_configured.source = settings.source
    and first_configured.id = types.id
)
{%- endmacro %}

{#- What a feedback document says of the cause, or what it holds in its place. -#}
{% macro feedback_cause() -%}
case
  when ({{ cht_starter.text_of(cht_starter.value_at(['info', 'cause'])) }}) is not null
    then {{ cht_starter.safe_text(cht_starter.value_at(['info', 'cause'])) }}
  else {{ cht_starter.text_of('body.info') }}
end
{%- endmacro %}

{#- The contact of a user, or else the place. -#}
{% macro user_contact() %}
  {{- return([['settings', 'contact_id'], ['settings', 'facility_id'], ['login', 'contact_id'], ['login', 'facility_id']]) -}}
{% endmacro %}

{#- The users whose documents are in the window of the run. The CHT keeps two documents of a user under one id: the
    settings in `medic`, the login in `_users`. Where both are copied one is in the raw table and the other in
    couchdb_collision, whichever came first. Without `settings` it is no user of the CHT, and has no stamp. -#}
{% macro users_to_read() -%}
(
  with candidates as (
    select document_metadata.uuid, document_metadata.saved_timestamp
    from {{ ref('document_metadata') }} as document_metadata
    where
      (document_metadata.doc_type = 'user-settings' or {{ cht_starter.is_user('document_metadata.uuid') }})
      {{ cht_starter.and_new('document_metadata') }}

    union

    select document_metadata.uuid, document_metadata.saved_timestamp
    from {{ cht_starter.collisions() }} as collision
    inner join {{ ref('document_metadata') }} as document_metadata on document_metadata.uuid = collision._id
    where
      {{ cht_starter.is_user('collision._id') }}
      {{ cht_starter.and_new('collision') }}
  ),

  documents as (
    {{ cht_starter.living_documents('select uuid from candidates') }}
  ),

  -- Of several servers that know the user, that whose document is in the raw table.
  settings as (
    select distinct on (_id) *
    from documents
    where doc ->> 'type' = 'user-settings'
    order by _id, nearness, source
  ),

  logins as (
    select distinct on (_id, split_part(source, '/', 1)) *
    from documents
    where doc ->> 'type' = 'user'
    order by _id, split_part(source, '/', 1), nearness, source
  )

  select
    candidates.uuid,
    case
      when settings._id is not null
        then greatest(
          candidates.saved_timestamp,
          case when settings.nearness > 0 then settings.saved_timestamp end,
          case when logins.nearness > 0 then logins.saved_timestamp end
        )
    end as saved_timestamp,
    settings.doc as settings,
    logins.doc as login
  from candidates
  left join settings on settings._id = candidates.uuid
  left join logins
    on logins._id = candidates.uuid
    and split_part(logins.source, '/', 1) = split_part(settings.source, '/', 1)
)
{%- endmacro %}
