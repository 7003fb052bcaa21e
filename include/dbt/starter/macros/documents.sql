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

{#- Whom a report is about: at the top in reports by SMS, among the fields in those of the app. -#}
{% macro data_record_patient(doc) -%}
coalesce({{ doc }} ->> 'patient_id', {{ doc }} #>> '{fields,patient_id}', {{ doc }} #>> '{fields,patient_uuid}')
{%- endmacro %}

{% macro data_record_place(doc) -%}
coalesce({{ doc }} ->> 'place_id', {{ doc }} #>> '{fields,place_id}')
{%- endmacro %}

{#- The contact types of the settings document, in their order; `settings` is a relation with a column doc. -#}
{% macro configured_contact_types(settings) %}
  select
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
