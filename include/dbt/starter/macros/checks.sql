{#-
  The checks of document_rejects: a list of the column, what the document says of it, what the model makes of that, and the
  reason where that is null. `path` leads to the value in `body`, as `['parent', '_id']`. The casts are those of the
  models, so a value is rejected here exactly when it is null there.
-#}

{#- What a document says at the end of a path, or on the way to it: a text in place of an object hides what should be in
    it. -#}
{% macro said_at(path) -%}
{%- if path | length == 1 -%}
{{ cht_starter.text_of(cht_starter.value_at(path)) }}
{%- else -%}
coalesce(
  {%- for depth in range(1, path | length) %}
  case
    when jsonb_typeof({{ cht_starter.value_at(path[:depth]) }}) <> 'object'
      then {{ cht_starter.text_of(cht_starter.value_at(path[:depth])) }}
  end,
  {%- endfor %}
  {{ cht_starter.text_of(cht_starter.value_at(path)) }}
)
{%- endif -%}
{%- endmacro %}

{% macro checked_text(column, path) %}
  {%- set accepted = cht_starter.safe_text(cht_starter.value_at(path)) -%}
  {{- return([column, cht_starter.said_at(path), accepted, "'a list or an object'"]) -}}
{% endmacro %}

{#- An id; `paths` are those of the model, in its order. -#}
{% macro checked_id(column, paths, reason='not an id') %}
  {%- set said = [] -%}
  {%- for path in paths -%}
    {%- do said.append(cht_starter.said_at(path)) -%}
  {%- endfor -%}
  {%- set said = 'coalesce(' ~ said | join(', ') ~ ')' -%}
  {{- return([column, said, cht_starter.first_id(paths), cht_starter.too_long_or(said, reason)]) -}}
{% endmacro %}

{% macro checked_number(column, path) %}
  {%- set accepted = cht_starter.safe_number(cht_starter.value_at(path) ~ " #>> '{}'") -%}
  {{- return([column, cht_starter.said_at(path), accepted, "'not a number'"]) -}}
{% endmacro %}

{% macro too_long_or(text, reason) -%}
case when octet_length({{ text }}) > 2600 then 'too long for an index' else '{{ reason }}' end
{%- endmacro %}

{#- What a telemetry document says of its period, in pieces. -#}
{% macro telemetry_period_said() -%}
coalesce(
  case when jsonb_typeof(body.metadata) <> 'object' then {{ cht_starter.text_of('body.metadata') }} end,
  nullif(
    concat_ws(
      '-',
      {{ cht_starter.text_of(cht_starter.value_at(['metadata', 'year'])) }},
      {{ cht_starter.text_of(cht_starter.value_at(['metadata', 'month'])) }},
      {{ cht_starter.text_of(cht_starter.value_at(['metadata', 'day'])) }}
    ),
    ''
  )
)
{%- endmacro %}

{#- Whether what is missing is the version that says how months count, or something else is wrong. -#}
{% macro telemetry_period_reason() -%}
case
  when ({{ cht_starter.counts_from_zero('(' ~ cht_starter.version_of_app('body.metadata') ~ ')', 'null::text') }}) is null
    and {{ cht_starter.safe_date("body.metadata #>> '{year}'", "body.metadata #>> '{month}'", "'1'") }} is not null
    and ({{ cht_starter.text_of(cht_starter.value_at(['metadata', 'day'])) }}) is null
    then 'months may count from zero or from one: the version of the app does not say'
  else 'not a date'
end
{%- endmacro %}
