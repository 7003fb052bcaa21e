{#- The `type` of documents that are contacts: configured types share `contact`, the others are the built-in ones. -#}
{% macro contact_document_types() -%}
('contact', 'clinic', 'district_hospital', 'health_center', 'person')
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
{% macro data_record_patient(doc) -%}
coalesce({{ doc }} ->> 'patient_id', {{ doc }} #>> '{fields,patient_id}', {{ doc }} #>> '{fields,patient_uuid}')
{%- endmacro %}

{% macro data_record_place(doc) -%}
coalesce({{ doc }} ->> 'place_id', {{ doc }} #>> '{fields,place_id}')
{%- endmacro %}

{#- The contact types of settings documents, in their order; `settings` is a relation as living_documents makes it. -#}
{% macro configured_contact_types(settings) %}
  select
    settings.source,
    settings.nearness,
    entry.value as element,
    entry.position,
    nullif({{ safe_key("entry.value ->> 'id'") }}, '') as id,
    {{ safe_boolean("entry.value ->> 'person'") }} as person
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
    types.id = 'person' or coalesce(first_configured.person, false) as person
  from settings
  cross join {{ types }} as types
  left join first_configured
    on first_configured.source = settings.source
    and first_configured.id = types.id
)
{%- endmacro %}
