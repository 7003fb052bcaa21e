{#-
  An edited row is never absent, and a model that fails loses none.

  dbt's strategy delete+insert deletes an edited row before it writes it anew. Where foreign keys with `on delete cascade`
  hang on the table, as in cht-pipeline, the row vanishes from all models below until each has run, and for good from
  one that fails. Here such a row is written over, and the rows that would have gone with it are noted instead: by the
  names of table and column and by their key, which a dump and its restore keep. The next run of the model below takes
  its noted rows away in the transaction that writes, save those that it writes anew: the same end, without the gap.

  A model whose strategy is a macro of its project cannot be told of notes: its rows go at once, as with dbt alone. One
  that is built anew in every run needs none, and tables of people keep their rows.
  Source: https://docs.getdbt.com/reference/dbt-jinja-functions/dispatch#overriding-global-macros
-#}

{% macro default__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) -%}
  {%- set keys = [unique_key] if unique_key is string else (unique_key or []) -%}
  {{ cht_sync_wrapper.take_noted_rows(target, source, keys) }}
  {%- set hanging = cht_sync_wrapper.hanging_rows(target) if keys | length == 1 and not incremental_predicates else none -%}
  {%- if hanging is not none and hanging | rejectattr(3, 'equalto', keys[0]) | list | length == 0
    and cht_sync_wrapper.has_unique_index(target, keys[0]) -%}
    {{ cht_sync_wrapper.write_over(target, source, keys[0], dest_columns, hanging) }}
  {%- else -%}
    {{ dbt.default__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) }}
  {%- endif -%}
{%- endmacro %}

{% macro default__get_incremental_append_sql(arg_dict) -%}
  {{ cht_sync_wrapper.take_noted_rows(arg_dict['target_relation'], arg_dict['temp_relation'], []) }}
  {{ dbt.default__get_incremental_append_sql(arg_dict) }}
{%- endmacro %}

{#- A microbatch sees a part of what the model selects, so its noted rows go as they would with dbt alone. -#}
{% macro default__get_incremental_merge_sql(arg_dict) -%}
  {%- set unique_key = none if config.get('incremental_strategy') == 'microbatch' else arg_dict['unique_key'] -%}
  {%- set keys = [unique_key] if unique_key is string else (unique_key or []) -%}
  {{ cht_sync_wrapper.take_noted_rows(arg_dict['target_relation'], arg_dict['temp_relation'], keys) }}
  {{ dbt.default__get_incremental_merge_sql(arg_dict) }}
{%- endmacro %}

{% macro edited_keys() %}
  {{- return(api.Relation.create(database=target.database, schema=target.schema, identifier='cht_edited_keys')) -}}
{% endmacro %}

{% macro text_literal(value) %}
  {{- return("'" ~ (value | string | replace("'", "''")) ~ "'") -}}
{% endmacro %}

{% macro has_unique_index(relation, column) %}
  {%- set check -%}
    select exists (
      select from pg_index as i
      join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
      where i.indrelid = {{ cht_sync_wrapper.text_literal(relation.include(database=false)) }}::regclass
        and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null
        and i.indnkeyatts = 1 and a.attname = {{ cht_sync_wrapper.text_literal(column) }}
    )
  {%- endset -%}
  {{- return(run_query(check).rows[0][0]) -}}
{% endmacro %}

{#- What would go with rows of a table: schema, table, column, and the column of the table that it points to. Of a key of
    several columns both are empty, so that no table with one is written over. -#}
{% macro hanging_rows(relation) %}
  {%- set query -%}
    select n.nspname::text, t.relname::text, coalesce(a.attname::text, ''), coalesce(b.attname::text, '')
    from pg_constraint as c
    join pg_class as t on t.oid = c.conrelid
    join pg_namespace as n on n.oid = t.relnamespace
    left join pg_attribute as a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
    left join pg_attribute as b on b.attrelid = c.confrelid and c.confkey = array[b.attnum]
    where c.contype = 'f' and c.confdeltype = 'c' and c.conrelid <> c.confrelid and c.conparentid = 0
      and c.confrelid = {{ cht_sync_wrapper.text_literal(relation.include(database=false)) }}::regclass
    order by 1, 2, 3
  {%- endset -%}
  {%- set found = [] -%}
  {%- for row in run_query(query).rows -%}{%- do found.append([row[0], row[1], row[2], row[3]]) -%}{%- endfor -%}
  {{- return(found) -}}
{% endmacro %}

{#- What becomes of the rows of a table below: 'noted', 'now' or 'kept'. -#}
{% macro how_rows_go(schema, table) %}
  {%- set nodes = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | selectattr('schema', 'equalto', schema)
    | selectattr('alias', 'equalto', table) | list -%}
  {%- if not nodes or nodes[0].config.materialized in ['table', 'view', 'materialized_view'] -%}
    {{- return('kept') -}}
  {%- endif -%}
  {%- set own = ['default', 'append', 'delete+insert', 'merge', 'microbatch'] -%}
  {%- if nodes[0].config.materialized == 'incremental' and (nodes[0].config.incremental_strategy or 'default') in own -%}
    {{- return('noted') -}}
  {%- endif -%}
  {{- return('now') -}}
{% endmacro %}

{% macro write_over(target, source, key, columns, hanging) %}
  {%- set key = adapter.quote(key) -%}
  {%- for schema, table, column, _ in hanging %}
    {%- set child = api.Relation.create(database=target.database, schema=schema, identifier=table) -%}
    {%- set how = cht_sync_wrapper.how_rows_go(schema, table) %}
    {%- if how == 'noted' %}
  insert into {{ cht_sync_wrapper.edited_keys() }} (child_schema, child, child_column, key)
  select distinct
    {{ cht_sync_wrapper.text_literal(schema) }}, {{ cht_sync_wrapper.text_literal(table) }},
    {{ cht_sync_wrapper.text_literal(column) }}, below.{{ adapter.quote(column) }}::text
  from {{ child }} as below
  where below.{{ adapter.quote(column) }} in (select {{ key }} from {{ source }})
    and not exists (
      select from {{ cht_sync_wrapper.edited_keys() }} as e
      where {{ cht_sync_wrapper.notes_of(schema, table, column) }} and e.key = below.{{ adapter.quote(column) }}::text
    );
    {%- elif how == 'now' %}
  delete from {{ child }} where {{ adapter.quote(column) }} in (select {{ key }} from {{ source }});
    {%- endif %}
  {%- endfor %}

  {%- set names = columns | map(attribute='quoted') | list %}
  {%- if cht_sync_wrapper.has_rules(target) %}

  create temporary table cht_edited_rows_now on commit drop as
  select {{ names | join(', ') }},
    not exists (select from {{ target }} as stale where stale.{{ key }} = fresh.{{ key }}) as cht_is_new
  from {{ source }} as fresh;
  create unique index on cht_edited_rows_now ({{ key }});
  update {{ target }} as stale set
  {%- for name in names %}
    {{ name }} = fresh.{{ name }}{{ ',' if not loop.last }}
  {%- endfor %}
  from cht_edited_rows_now as fresh where not fresh.cht_is_new and fresh.{{ key }} = stale.{{ key }};
  insert into {{ target }} ({{ names | join(', ') }})
  select {{ names | join(', ') }} from cht_edited_rows_now where cht_is_new
  {%- else %}

  insert into {{ target }} ({{ names | join(', ') }})
  select {{ names | join(', ') }} from {{ source }}
  on conflict ({{ key }}) do update set
  {%- for name in names %}
    {{ name }} = excluded.{{ name }}{{ ',' if not loop.last }}
  {%- endfor %}
  {%- endif %}
{% endmacro %}

{#- Rules for what is written, of people's: PostgreSQL refuses `on conflict` where there are such. What a rule adds to an
    insert runs after it, so which rows are new is settled before. -#}
{% macro has_rules(relation) %}
  {%- set check -%}
    select exists (
      select from pg_rewrite as r
      where r.ev_class = {{ cht_sync_wrapper.text_literal(relation.include(database=false)) }}::regclass and r.ev_type in ('2', '3')
    )
  {%- endset -%}
  {{- return(run_query(check).rows[0][0]) -}}
{% endmacro %}

{% macro notes_of(schema, table, column=none) -%}
  e.child_schema = {{ cht_sync_wrapper.text_literal(schema) }} and e.child = {{ cht_sync_wrapper.text_literal(table) }}
  {%- if column is not none %} and e.child_column = {{ cht_sync_wrapper.text_literal(column) }}{% endif -%}
{%- endmacro %}

{#- In the transaction of a model: its noted rows go, save those whose key it selects again. Without a key all go. -#}
{% macro take_noted_rows(target, source, keys) %}
  {%- set log = cht_sync_wrapper.edited_keys() -%}
  {%- set notes = cht_sync_wrapper.notes_of(target.schema, target.identifier) -%}
  {%- for row in run_query('select distinct e.child_column from ' ~ log ~ ' as e where ' ~ notes).rows %}
  do $noted$
  declare
    noted text[];
  begin
    -- Apart from the delete below: on a table with rules PostgreSQL refuses one in the same statement.
    with gone as (
      delete from {{ log }} as e where {{ cht_sync_wrapper.notes_of(target.schema, target.identifier, row[0]) }} returning e.key
    )
    select array_agg(gone.key) into noted from gone;
    delete from {{ target }} as stale
    where stale.{{ adapter.quote(row[0]) }}::text = any (noted)
    {%- if keys %}
      and not exists (
        select from {{ source }} as fresh
        where {% for key in keys %}fresh.{{ adapter.quote(key) }} = stale.{{ adapter.quote(key) }}{{ ' and ' if not loop.last }}{% endfor %}
      )
    {%- endif %};
  end
  $noted$;
  {%- endfor %}
{% endmacro %}

{#- on-run-start: once, where a model may come to write over rows. Notes of a table that is there no longer are moot. -#}
{% macro make_edited_keys() %}
  {%- if execute and adapter.check_schema_exists(target.database, target.schema) -%}
    begin;
    create table if not exists {{ cht_sync_wrapper.edited_keys() }} (
      child_schema text not null,
      child text not null,
      child_column text not null,
      key text not null
    );
    {#- Or nothing could be deleted from it where all tables are published; a key may be too long for an index. #}
    do $identity$ begin
      if exists (
        select from pg_class
        where oid = {{ cht_sync_wrapper.text_literal(cht_sync_wrapper.edited_keys().include(database=false)) }}::regclass
          and relreplident <> 'f'
      ) then
        alter table {{ cht_sync_wrapper.edited_keys() }} replica identity full;
      end if;
    end $identity$;
    delete from {{ cht_sync_wrapper.edited_keys() }} where to_regclass(format('%I.%I', child_schema, child)) is null;
    {{ cht_sync_wrapper.take_over_edited_rows() }}
    commit;
  {%- endif -%}
{% endmacro %}

{#- on-run-end: a table that was built anew holds no row of before. -#}
{% macro forget_notes_of_rebuilt(results) %}
  {%- set log = cht_sync_wrapper.edited_keys() -%}
  {%- if execute and adapter.get_relation(log.database, log.schema, log.identifier) is not none -%}
    {%- for result in results if result.node.resource_type == 'model' and result.status == 'success' -%}
      {%- set says = result.node.config.full_refresh -%}
      {%- if says or (says is none and flags.FULL_REFRESH) %}
    delete from {{ log }} as e where {{ cht_sync_wrapper.notes_of(result.node.schema, result.node.alias) }};
      {%- endif -%}
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}
