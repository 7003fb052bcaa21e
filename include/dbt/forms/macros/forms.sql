{#- The table of raw documents. An empty variable counts as not set, as everywhere. -#}
{% macro raw() %}
  {{- return(source('couchdb', env_var('POSTGRES_TABLE', '') or 'couchdb')) -}}
{% endmacro %}

{#- What a model of a form reads of a document, which is unpacked once. -#}
{% macro body_of(doc) -%}
{{ cht_forms.fields_of(doc, ['fields', 'form_version', 'patient_id', 'place_id']) }}
{%- endmacro %}

{#- Whom a report is about: at the top in reports by SMS, among the fields in those of the app. -#}
{% macro patient_of() -%}
{{ cht_forms.first_id([['patient_id'], ['fields', 'patient_id'], ['fields', 'patient_uuid']]) }}
{%- endmacro %}

{% macro place_of() -%}
{{ cht_forms.first_id([['place_id'], ['fields', 'place_id']]) }}
{%- endmacro %}

{#- The version of a form as a report names it: a text, or when it was put in place, in milliseconds. -#}
{% macro version_of(json) -%}
case
  when jsonb_typeof({{ json }}) = 'object' then {{ cht_forms.safe_text('(' ~ json ~ " -> 'time')") }}
  else {{ cht_forms.safe_text(json) }}
end
{%- endmacro %}
