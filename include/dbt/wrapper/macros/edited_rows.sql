{#-
  An edited row is never absent, and a model that fails loses none.

  dbt's strategy delete+insert deletes an edited row before it writes it anew. Where foreign keys with `on delete cascade`
  hang on the table, as in cht-pipeline, the row vanishes from all models below until each has run, and for good from
  one that fails. Here such a row is written over, and the rows that would have gone with it are noted instead. When the
  models below have run well, their noted rows go, save those that they have written anew: the same end, without the gap.

  A row was written anew if its transaction is younger than the one that edited the row above it.
  Source: https://docs.getdbt.com/reference/dbt-jinja-functions/dispatch#overriding-global-macros
  Source: https://www.postgresql.org/docs/current/ddl-system-columns.html
-#}

{% macro default__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) -%}
  {%- set keys = [unique_key] if unique_key is string else (unique_key or []) -%}
  {%- if keys | length == 1 and not incremental_predicates and cht_sync_wrapper.has_unique_index(target, keys[0]) -%}
    {{ cht_sync_wrapper.write_over(target, source, keys[0], dest_columns) }}
  {%- else -%}
    {{ dbt.default__get_delete_insert_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) }}
  {%- endif -%}
{%- endmacro %}

{% macro edited_rows() %}
  {{- return(api.Relation.create(database=target.database, schema=target.schema, identifier='cht_edited_rows')) -}}
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

{% macro write_over(target, source, key, columns) %}
  {%- set key = adapter.quote(key) -%}
  insert into {{ cht_sync_wrapper.edited_rows() }} (child, child_column, key, edited_in)
  select hanging.child, hanging.child_column, old.{{ key }}::text, txid_current()
  from {{ target }} as old
  cross join (
    select c.conrelid as child, a.attname::text as child_column
    from pg_constraint as c
    join pg_attribute as a on a.attrelid = c.conrelid and a.attnum = c.conkey[1]
    where c.contype = 'f' and c.confdeltype = 'c' and array_length(c.conkey, 1) = 1 and c.conrelid <> c.confrelid
      and c.confrelid = {{ cht_sync_wrapper.text_literal(target.include(database=false)) }}::regclass
  ) as hanging
  where old.{{ key }} in (select {{ key }} from {{ source }});

  insert into {{ target }} ({{ columns | map(attribute='quoted') | join(', ') }})
  select {{ columns | map(attribute='quoted') | join(', ') }} from {{ source }}
  on conflict ({{ key }}) do update set
  {%- for column in columns %}
    {{ column.quoted }} = excluded.{{ column.quoted }}{{ ',' if not loop.last }}
  {%- endfor %}
{% endmacro %}

{#- on-run-start: once, where a model may come to write over rows. -#}
{% macro make_edited_rows() %}
  {%- if execute and adapter.check_schema_exists(target.database, target.schema) -%}
    {%- set gentle = namespace(found=false) -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.config.materialized == 'incremental' -%}
      {%- if node.config.unique_key and (node.config.incremental_strategy or 'delete+insert') == 'delete+insert' -%}
        {%- set gentle.found = true -%}
      {%- endif -%}
    {%- endfor -%}
    {%- if gentle.found %}
    create table if not exists {{ cht_sync_wrapper.edited_rows() }} (
      child oid not null,
      child_column text not null,
      key text not null,
      edited_in bigint not null
    );
    {%- endif -%}
  {%- endif -%}
{% endmacro %}

{#- on-run-end: of models that have run well, what hung on edited rows and was not written anew. -#}
{% macro forget_stale_rows(results) %}
  {%- set log = cht_sync_wrapper.edited_rows() -%}
  {%- if execute and adapter.get_relation(log.database, log.schema, log.identifier) is not none -%}
    {%- set models = [] -%}
    {%- for result in results if result.node.resource_type == 'model' and result.status == 'success' -%}
      {%- do models.append("(" ~ cht_sync_wrapper.text_literal(result.node.schema) ~ ", " ~ cht_sync_wrapper.text_literal(result.node.alias) ~ ")") -%}
    {%- endfor -%}
    {%- if models -%}
      {%- set noted -%}
        select distinct e.child::bigint, e.child_column, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
        from {{ log }} as e
        join pg_class as c on c.oid = e.child
        join pg_namespace as n on n.oid = c.relnamespace
        where (n.nspname, c.relname) in ({{ models | join(', ') }})
      {%- endset -%}
      {%- set found = run_query(noted).rows %}
      {%- if found | length %}
    begin;
        {%- for child, column, relation in found %}
    delete from {{ relation }} as stale
    using {{ log }} as e
    where e.child = {{ child }} and e.child_column = {{ cht_sync_wrapper.text_literal(column) }}
      and stale.{{ adapter.quote(column) }}::text = e.key and age(stale.xmin) > txid_current() - e.edited_in;
    delete from {{ log }} where child = {{ child }} and child_column = {{ cht_sync_wrapper.text_literal(column) }};
        {%- endfor %}
    delete from {{ log }} as e where not exists (select from pg_class as c where c.oid = e.child);
    commit;
      {%- endif -%}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}
