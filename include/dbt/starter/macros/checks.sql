{#- A check of document_rejects: field, what the document holds, what a model makes of it, the reason where that is null.
    `path` is a path in `doc`, as `parent,_id`. -#}
{% macro checked_text(field, path, reason) %}
  {%- set value = "doc #>> '{" ~ path ~ "}'" -%}
  {{- return([field, value, cht_starter.safe_key(value), reason]) -}}
{% endmacro %}

{% macro checked_number(field, path, reason) %}
  {%- set value = "doc #>> '{" ~ path ~ "}'" -%}
  {{- return([field, value, cht_starter.safe_number(value), reason]) -}}
{% endmacro %}

{% macro checked_object(field, path, reason) %}
  {%- set value = "doc #>> '{" ~ path ~ "}'" -%}
  {{- return([field, value, cht_starter.safe_object("doc #> '{" ~ path ~ "}'"), reason]) -}}
{% endmacro %}
