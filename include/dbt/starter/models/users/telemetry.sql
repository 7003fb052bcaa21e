{{
  config(
    unique_key='uuid',
    meta={'follows': ['document_metadata']},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['uuid'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
      {'columns': ['period_start']},
      {'columns': ['user_name']},
      {'columns': ['app_version']},
    ]
  )
}}

select
  document_metadata.uuid,
  document_metadata.saved_timestamp,
  {{ period_of('body.metadata') }} as period_start,
  {{ first_id([['metadata', 'user']]) }} as user_name,
  {{ first_id([['metadata', 'versions', 'app']]) }} as app_version,
  {{ safe_number("body.metrics #>> '{boot_time,min}'") }} as boot_time_min,
  {{ safe_number("body.metrics #>> '{boot_time,max}'") }} as boot_time_max,
  {{ safe_number("body.metrics #>> '{boot_time,count}'") }} as boot_time_count,
  {{ safe_number("body.\"dbInfo\" #>> '{doc_count}'") }} as doc_count_on_local_db
from {{ ref('document_metadata') }} as document_metadata
inner join {{ raw() }} as raw
  on raw._id = document_metadata.uuid
  and {{ still_of_its_type('document_metadata') }}
cross join lateral {{ fields_of('raw.doc', ['metadata', 'metrics', 'dbInfo']) }}
where
  document_metadata.doc_type = 'telemetry'
  {{ and_new('document_metadata') }}
