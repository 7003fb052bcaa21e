{#- on-run-end: one row per model of the run, kept for 14 days. The table is made here where the model dbt_results has
    not run yet, so that the first run of a single model works too. -#}
{% macro record_results(results) %}
  {%- if not execute -%}{{ return('') }}{%- endif -%}
  {%- set table = api.Relation.create(database=target.database, schema=target.schema, identifier='dbt_results') -%}
  {%- set rows = [] -%}
  {%- for result in results if result.node.resource_type == 'model' -%}
    {%- set executed = result.timing | selectattr('name', 'equalto', 'execute') | list | first -%}
    {%- set started = (executed.started_at if executed else none) or run_started_at.replace(tzinfo=none) -%}
    {%- do rows.append([
      cht_starter.literal(invocation_id ~ '.' ~ result.node.unique_id),
      cht_starter.literal(invocation_id),
      cht_starter.literal(result.node.unique_id),
      cht_starter.literal(result.node.database),
      cht_starter.literal(result.node.schema),
      cht_starter.literal(result.node.name),
      cht_starter.literal(result.node.resource_type),
      cht_starter.literal(result.status),
      cht_starter.literal(started),
      cht_starter.literal((executed.completed_at if executed else none) or started),
      (result.execution_time or 0) | float,
      [((result.adapter_response or {}).get('rows_affected') or 0) | int, 0] | max,
    ] | join(', ')) -%}
  {%- endfor -%}
  {%- if rows and adapter.check_schema_exists(target.database, target.schema) %}
    begin;
    {{ cht_starter.create_once(table, cht_starter.dbt_results_columns()) }}
    delete from {{ table }} where start_time < (now() at time zone 'utc') - interval '14 days';
    insert into {{ table }} (
      result_id, invocation_id, unique_id, database_name, schema_name, name,
      resource_type, status, start_time, end_time, execution_time, rows_affected
    ) values
    {%- for row in rows %}
      ({{ row }}){{ ',' if not loop.last }}
    {%- endfor %};
    commit;
  {%- endif -%}
{% endmacro %}

{#- As the contract of the model dbt_results has them. -#}
{% macro dbt_results_columns() -%}
  result_id text, invocation_id text, unique_id text, database_name text, schema_name text, name text,
  resource_type text, status text, start_time timestamp, end_time timestamp,
  execution_time double precision, rows_affected integer
{%- endmacro %}
