{#-
  Casts that never fail: what cannot be cast is null, and document_rejects shows it. `text` is an SQL expression of
  type text, mostly `doc ->> 'field'`. Plain expressions, because a function would need rights and a schema of its own.
  PostgreSQL evaluates only the chosen branch of a case, so the check always comes before the cast.
-#}

{#- CHT dates are milliseconds since 1970, as a number or as text of digits; `.0` is how a float without a fraction may
    be written. Years 1 to 9999: past those PostgreSQL still counts, but Python, Java and JavaScript clients fail on the
    whole result. Whole seconds, as dashboards know. -#}
{% macro safe_reported(text) %}
case
  when {{ text }} ~ '^\s*[+-]?[0-9]{1,18}(\.0*)?\s*$' then
    case
      when split_part({{ text }}, '.', 1)::bigint between -62135596800000 and 253402300799999
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

{#- A text with a btree index: PostgreSQL refuses the row when an entry passes 2,704 bytes. -#}
{% macro safe_key(text) %}
case when octet_length({{ text }}) <= 2600 then {{ text }} end
{%- endmacro %}

{#- A text that must not be a list or an object. `json` is the value as jsonb. -#}
{% macro safe_scalar(json) %}
case when jsonb_typeof({{ json }}) in ('string', 'number', 'boolean') then nullif({{ json }} #>> '{}', '') end
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

{#- The period of a telemetry document. Apps before 3.8.0 counted months from zero; without a day it is a month. -#}
{% macro telemetry_period(doc) %}
(
  select {{ cht_starter.safe_date('period.year', 'period.month', 'period.day') }}
  from (
    select
      {{ doc }} #>> '{metadata,year}' as year,
      case
        when {{ doc }} #>> '{metadata,month}' ~ '^[0-9]{1,2}$'
          and regexp_match(
            {{ doc }} #>> '{metadata,versions,app}', '([0-9]{1,6})\.([0-9]{1,6})\.([0-9]{1,6})'
          )::int[] < '{3,8,0}'::int[]
          then (({{ doc }} #>> '{metadata,month}')::int + 1)::text
        else {{ doc }} #>> '{metadata,month}'
      end as month,
      coalesce(nullif({{ doc }} #>> '{metadata,day}', ''), '1') as day
  ) as period
)
{%- endmacro %}

{#- A value that must be an object; `json` is the value as jsonb. -#}
{% macro safe_object(json) %}
case when jsonb_typeof({{ json }}) = 'object' then {{ json }} end
{%- endmacro %}
