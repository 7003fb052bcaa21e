{{
  config(
    incremental_strategy='append',
    full_refresh=false,
    indexes=[{'columns': ['start_time']}]
  )
}}

-- The rows come from the hook at the end of every run; the model is here for its table, contract and documentation.
select
  null::text as result_id,
  null::text as invocation_id,
  null::text as unique_id,
  null::text as database_name,
  null::text as schema_name,
  null::text as name,
  null::text as resource_type,
  null::text as status,
  null::timestamp as start_time,
  null::timestamp as end_time,
  null::double precision as execution_time,
  null::integer as rows_affected
where false
