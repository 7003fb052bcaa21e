{#-
  The incremental strategy `upsert`: rows that no longer belong to the model go, changed rows are written over, all in
  one statement's transaction. No row that stays is ever deleted, so no reader misses it and no cascade follows it.

  Which rows no longer belong: those whose document is in the window of this run, but which the model did not select.
  When everything was compared, that is every row which the model did not select. A model that also reads documents
  outside of that window selects, under `meta.tombstone`, the keys of rows to delete, or names the rows that it selects
  in every run, by `meta.always_selected`. Whose document a row is of says document.sql.
-#}
{% macro get_incremental_upsert_sql(arguments) %}
  {%- set target_table = arguments['target_relation'] -%}
  {%- set selected = arguments['temp_relation'] -%}
  {%- set key = cht_starter.unique_key_columns() -%}
  {%- set columns = arguments['dest_columns'] -%}
  {%- set follows = cht_starter.follows() -%}
  {%- set tombstone = cht_starter.tombstone() -%}
  {%- set always_selected = cht_starter.always_selected() -%}
  {%- set progress = cht_starter.progress_relation() -%}
  {%- set window = cht_starter.window() if follows else {} -%}
  {%- set document = cht_starter.document_column(columns, selected) -%}
  {%- do cht_starter.check_columns(target_table, selected) -%}

  {%- if not follows or window['from'] is none %}
    {{ cht_starter.ensure_unique_key() }}
  {%- endif %}

  {%- if tombstone %}
    delete from {{ target_table }} as old
    using (select * from {{ selected }} where {{ tombstone }}) as new
    where {{ cht_starter.same_key(key) }};
  {%- endif %}

  {%- if follows and window['from'] is none %}
    delete from {{ target_table }} as old
    where not exists (select from {{ selected }} as new where {{ cht_starter.same_key(key) }})
      {{- cht_starter.and_not_kept() }};
  {%- elif follows and follows[0] != 'raw' %}
    delete from {{ target_table }} as old
    using {{ ref(follows[0]) }} as followed
    where followed.{{ cht_starter.followed_id() }} = old.{{ adapter.quote(document) }}
      and followed.saved_timestamp {{ cht_starter.within(window) }}
      and not exists (select from {{ selected }} as new where {{ cht_starter.same_key(key) }})
      {{- cht_starter.and_not_kept() }};
    {%- if not cht_starter.deletes_cascade(document) %}
    delete from {{ target_table }} as old
    using {{ cht_starter.raw() }} as raw
    where raw._id = old.{{ adapter.quote(document) }}
      and raw.saved_timestamp {{ cht_starter.within(window) }}
      and not exists (
        select from {{ ref(follows[0]) }} as followed
        where followed.{{ cht_starter.followed_id() }} = old.{{ adapter.quote(document) }}
      );
    {%- endif %}
    {%- if always_selected %}
    delete from {{ target_table }} as old
    where {{ always_selected }}
      and not exists (select from {{ selected }} as new where {{ cht_starter.same_key(key) }})
      {{- cht_starter.and_not_kept() }};
    {%- endif %}
  {%- endif %}

  {%- if follows and follows[0] == 'raw' %}
    update {{ progress }} as own
    set modelled_until = newest.saved_timestamp
    from (select max(saved_timestamp) as saved_timestamp from {{ selected }}) as newest
    where own.model = {{ cht_starter.literal(target_table.identifier) }} and (own.modelled_until is null or newest.saved_timestamp > own.modelled_until);
  {%- endif %}

  {%- if cht_starter.has_rules(target_table) %}
    {{ cht_starter.update_and_insert(target_table, selected, key, columns, tombstone) }}
  {%- else %}

    {#- Without the first condition the upsert would lock, and so write, every row it finds unchanged. #}
    insert into {{ target_table }} ({{ columns | map(attribute='quoted') | join(', ') }})
    select {{ columns | map(attribute='quoted') | join(', ') }}
    from {{ cht_starter.without_tombstones(selected, tombstone) }} as new
    where not exists (
      select from {{ target_table }} as old
      where {{ cht_starter.same_key(key) }}
        and ({{ cht_starter.comparable('old', columns) }}) is not distinct from ({{ cht_starter.comparable('new', columns) }})
    )
    on conflict ({% for column in key %}{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %}) do update set
    {%- for column in columns %}
      {{ column.quoted }} = excluded.{{ column.quoted }}{{ ',' if not loop.last }}
    {%- endfor %}
  {%- endif %}
{% endmacro %}

{% macro within(window) -%}
between {{ cht_starter.literal(window['from']) }}::timestamp and {{ cht_starter.literal(window['until']) }}::timestamp
{%- endmacro %}

{% macro same_key(key) -%}
  {%- for column in key -%}
    new.{{ adapter.quote(column) }} = old.{{ adapter.quote(column) }}{{ ' and ' if not loop.last }}
  {%- endfor -%}
{%- endmacro %}

{#- json, xml and point know no equality. -#}
{% macro comparable(alias, columns) -%}
  {%- for column in columns -%}
    {{ alias }}.{{ column.quoted }}{{ '::text' if column.dtype in ('json', 'xml', 'point') }}{{ ', ' if not loop.last }}
  {%- endfor -%}
{%- endmacro %}

{#- A column whose type has changed cannot be compared, and one that the table lacks would be left out without a word. -#}
{% macro check_columns(target_table, selected) %}
  {%- set query -%}
    select new.attname::text, format_type(old.atttypid, old.atttypmod), format_type(new.atttypid, new.atttypmod)
    from pg_attribute as new
    join pg_type as wanted on wanted.oid = new.atttypid
    left join (pg_attribute as old join pg_type as found on found.oid = old.atttypid)
      on old.attrelid = {{ cht_starter.literal(target_table.include(database=false)) }}::regclass
      and old.attname = new.attname and not old.attisdropped
    where new.attrelid = {{ cht_starter.literal(selected) }}::regclass and new.attnum > 0 and not new.attisdropped
      and (
        old.attname is null
        or (new.atttypid <> old.atttypid and (found.typcategory <> wanted.typcategory or found.typcategory = 'U'))
      )
    order by new.attnum
  {%- endset -%}
  {%- set remedy = 'trigger cht_pipeline_deploy with full_refresh ' ~ model.name ~ ', or run dbt with --full-refresh' -%}
  {%- set missing = [] -%}
  {%- for column, found, wanted in run_query(query).rows -%}
    {%- if found is none -%}
      {%- do missing.append(column) -%}
    {%- else -%}
      {%- do exceptions.raise_compiler_error(
        model.name ~ '.' ~ column ~ ' is ' ~ found ~ ' in the table and ' ~ wanted ~ ' in the model: ' ~ remedy ~ '.'
      ) -%}
    {%- endif -%}
  {%- endfor -%}
  {%- if missing -%}
    {%- do exceptions.warn(
      model.name ~ ' selects ' ~ missing | join(', ') ~ ', which its table has not and gets not, as on_schema_change says: set it'
      ~ ' to append_new_columns, or ' ~ remedy ~ '.'
    ) -%}
  {%- endif -%}
{% endmacro %}
