{#-
  Casts that never fail. Each makes of a value in a document a value of the column, or null; where it is null although
  the document says something, document_rejects shows what. `json` is an SQL expression of type jsonb, `text` one of type
  text. Plain expressions, because a function would need rights and a schema of its own. PostgreSQL evaluates only the
  chosen branch of a case, so the check always comes before the cast.
-#}

{#- The fields of a document that a model reads, as jsonb columns of `body`: a document is unpacked once, however many
    columns are made of it. -#}
{% macro fields_of(doc, names) -%}
jsonb_to_record(case when jsonb_typeof({{ doc }}) = 'object' then {{ doc }} else '{}' end) as body (
    {%- for name in names %}{{ adapter.quote(name) }} jsonb{{ ', ' if not loop.last }}{% endfor -%}
  )
{%- endmacro %}

{#- The value at the end of a path, as `parent, _id` for the field `parent` of `body`. -#}
{% macro value_at(path) -%}
{%- if path | length == 1 -%}
body.{{ adapter.quote(path[0]) }}
{%- else -%}
(body.{{ adapter.quote(path[0]) }} #> '{{ '{' ~ path[1:] | join(',') ~ '}' }}')
{%- endif -%}
{%- endmacro %}

{#- A blank: also those that people cannot see, as no-break and zero-width ones. -#}
{% macro blank() -%}
[ \t\n\r\f\v\u0085\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff]
{%- endmacro %}

{#- Whether a text says anything. -#}
{% macro says_something(text) -%}
{{ text }} ~ '[^{{ cht_starter.blank()[1:] }}'
{%- endmacro %}

{#- A value as text; null where nothing is said: no value, null, an empty text, list or object, nothing but blanks. -#}
{% macro text_of(json) -%}
case
  when {{ json }} not in ('[]'::jsonb, '{}'::jsonb) and {{ cht_starter.says_something(json ~ " #>> '{}'") }} then {{ json }} #>> '{}'
end
{%- endmacro %}

{#- A text, also one that is written as a number or as true and false: no list, no object. -#}
{% macro safe_text(json) -%}
case
  when jsonb_typeof({{ json }}) in ('string', 'number', 'boolean') and {{ cht_starter.says_something(json ~ " #>> '{}'") }}
    then {{ json }} #>> '{}'
end
{%- endmacro %}

{#- An id, a code or a name that tables are joined or grouped by: a text or a number that an index can hold. PostgreSQL
    refuses a row when an entry of a btree index passes 2,704 bytes. -#}
{% macro safe_id(json) -%}
case
  when jsonb_typeof({{ json }}) in ('string', 'number')
    and octet_length({{ json }} #>> '{}') <= 2600
    and {{ cht_starter.says_something(json ~ " #>> '{}'") }}
    then {{ json }} #>> '{}'
end
{%- endmacro %}

{#- The first id that can be used: an empty one, or a list, does not hide the next. -#}
{% macro first_id(paths) -%}
coalesce(
    {%- for path in paths %}
    {{ cht_starter.safe_id(cht_starter.value_at(path)) }}{{ ',' if not loop.last }}
    {%- endfor %}
  )
{%- endmacro %}

{#- CHT dates are milliseconds since 1970, as a number or as text of digits; `.0` is how a float without a fraction may
    be written. What lies before March 1973 (11 digits and fewer) is a time in seconds, as of now until the year 5138, or
    no time at all. Years until 9999: past those PostgreSQL still counts, but Python, Java and JavaScript clients fail on
    the whole result. Whole seconds, as dashboards know. -#}
{% macro safe_reported(text) %}
case
  when {{ text }} ~ '^\s*[+-]?[0-9]{1,18}(\.0*)?\s*$' then
    case
      when split_part({{ text }}, '.', 1)::bigint between 100000000000 and 253402300799999
        then to_timestamp((split_part({{ text }}, '.', 1)::bigint / 1000)::double precision)
    end
end
{%- endmacro %}

{#- What PostgreSQL reads as a boolean. -#}
{% macro safe_boolean(text) %}
case
  when lower(btrim({{ text }})) in ('true', 't', 'yes', 'y', 'on', '1') then true
  when lower(btrim({{ text }})) in ('false', 'f', 'no', 'n', 'off', '0') then false
end
{%- endmacro %}

{#- A number that stays text, as dashboards cast it themselves: null where that cast would fail. -#}
{% macro safe_number(text) %}
case
  when {{ text }} ~ '^\s*[+-]?([0-9]{1,255}(\.[0-9]{0,255})?|\.[0-9]{1,255})([eE][+-]?[0-9]{1,2})?\s*$' then {{ text }}
end
{%- endmacro %}

{#- For packages upon the starter that use them: a text that fits an index, a text that is no list or object, an object. -#}
{% macro safe_key(text) %}
case when octet_length({{ text }}) <= 2600 then {{ text }} end
{%- endmacro %}

{% macro safe_scalar(json) %}
{{ cht_starter.safe_text(json) }}
{%- endmacro %}

{% macro safe_object(json) %}
case when jsonb_typeof({{ json }}) = 'object' then {{ json }} end
{%- endmacro %}

{#- The period of a telemetry document. -#}
{% macro telemetry_period(doc) %}
{{ cht_starter.period_of('(' ~ doc ~ " -> 'metadata')") }}
{%- endmacro %}

{#- A day or a time as ISO 8601 writes it and PostgreSQL reads it; it stays text, as dashboards cast it themselves. -#}
{% macro safe_time(text) %}
case
  when {{ text }} ~ '^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)? ?(Z|[+-](0[0-9]|1[0-4])(:?[0-5][0-9])?)?)?$'
    and left({{ text }}, 4) <> '0000' then
    case
      when substr({{ text }}, 9, 2)::int <= extract(
        day from make_date(left({{ text }}, 4)::int, substr({{ text }}, 6, 2)::int, 1) + interval '1 month - 1 day'
      ) then {{ text }}
    end
end
{%- endmacro %}

{#- Since when a contact is muted, or just `true`: null for one that says it is not. -#}
{% macro safe_muted(text) %}
case
  when {{ cht_starter.safe_boolean(text) }} then 'true'
  when ({{ cht_starter.safe_boolean(text) }}) is null then
    coalesce({{ cht_starter.safe_time(text) }}, case when ({{ cht_starter.safe_reported(text) }}) is not null then {{ text }} end)
end
{%- endmacro %}

{#- The `type` of a document, as the CHT compares it: exactly. One that differs from a type of the CHT by case alone, or
    begins or ends with a blank, belongs to no model and is none. -#}
{% macro safe_type(json) %}
case
  when jsonb_typeof({{ json }}) = 'string'
    and octet_length({{ json }} #>> '{}') <= 2600
    and {{ json }} #>> '{}' ~ '^[^{{ cht_starter.blank()[1:] }}'
    and {{ json }} #>> '{}' !~ '{{ cht_starter.blank() }}$'
    and (
      {{ json }} #>> '{}' in {{ cht_starter.modelled_types() }}
      or lower({{ json }} #>> '{}') not in {{ cht_starter.modelled_types() }}
    )
    then {{ json }} #>> '{}'
end
{%- endmacro %}

{#- A list of texts, as JSON text. -#}
{% macro safe_list(json) %}
case
  when jsonb_typeof({{ json }}) = 'array' and {{ json }} <> '[]' and not {{ json }} @? 'strict $[*] ? (@.type() <> "string")'
    then {{ json }} #>> '{}'
end
{%- endmacro %}

{#- Midnight in UTC of a day given as three texts, whatever the time zone of the session. -#}
{% macro safe_date(year, month, day) %}
case
  when {{ year }} ~ '^[0-9]{4}$' and {{ month }} ~ '^[0-9]{1,2}$' and {{ day }} ~ '^[0-9]{1,2}$' then
    case
      when ({{ year }})::int >= 1 and ({{ month }})::int between 1 and 12 then
        case
          when ({{ day }})::int between 1 and extract(
            day from make_date(({{ year }})::int, ({{ month }})::int, 1) + interval '1 month - 1 day'
          ) then make_timestamptz(({{ year }})::int, ({{ month }})::int, ({{ day }})::int, 0, 0, 0, 'UTC')
        end
    end
end
{%- endmacro %}

{#- Whether an app counted months from zero, by its version, however that is written (`3.7`, `v3.7.1-beta.2`,
    `medic:medic:3.7.x`): apps before 3.8 did. Null where the version does not say; then a day says that it is no old app,
    since those wrote months. -#}
{% macro counts_from_zero(version, day) -%}
case
  when {{ version }}[1]::int < 3 or ({{ version }}[1]::int = 3 and {{ version }}[2]::int < 8) then true
  when {{ version }}[1]::int > 3 or {{ version }}[2] is not null then false
  when {{ day }} is not null then false
end
{%- endmacro %}

{#- The first two numbers of the version of the app. -#}
{% macro version_of_app(metadata) -%}
case
  when jsonb_typeof({{ metadata }} #> '{versions,app}') in ('string', 'number') then regexp_match(
    {{ metadata }} #>> '{versions,app}', '^[^0-9]{0,40}([0-9]{1,2})(?![0-9])(?:[._]([0-9]{1,4})(?![0-9]))?'
  )
end
{%- endmacro %}

{#- The period of a telemetry document; without a day it is a month. A month that may count from zero or from one is
    none, save 0 and 12, which can only be one of both. `metadata` is the object as jsonb. -#}
{% macro period_of(metadata) %}
(
  select {{ cht_starter.safe_date('period.year', 'period.month', "coalesce(period.day, '1')") }}
  from (
    select
      written.year,
      written.day,
      case
        when written.month ~ '^[0-9]{1,2}$' then
          case
            when coalesce({{ cht_starter.counts_from_zero('written.version', 'written.day') }}, written.month::int = 0)
              then (written.month::int + 1)::text
            when ({{ cht_starter.counts_from_zero('written.version', 'written.day') }}) is not null or written.month::int = 12
              then written.month
          end
      end as month
    from (
      select
        {{ metadata }} #>> '{year}' as year,
        {{ metadata }} #>> '{month}' as month,
        {{ cht_starter.text_of(metadata ~ " -> 'day'") }} as day,
        {{ cht_starter.version_of_app(metadata) }} as version
      offset 0
    ) as written
  ) as period
)
{%- endmacro %}
