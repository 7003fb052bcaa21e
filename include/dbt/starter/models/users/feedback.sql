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
    ]
  )
}}

select
  document_metadata.uuid,
  document_metadata.saved_timestamp,
  {{ safe_text(value_at(['meta', 'source'])) }} as source,
  {{ safe_text(value_at(['meta', 'url'])) }} as url,
  {{ first_id([['meta', 'user', 'name']]) }} as user_name,
  {{ safe_time(value_at(['meta', 'time']) ~ " #>> '{}'") }} as period_start,
  {{ feedback_cause() }} as cause,
  {{ safe_text(value_at(['info', 'message'])) }} as message
from {{ ref('document_metadata') }} as document_metadata
inner join {{ raw() }} as raw
  on raw._id = document_metadata.uuid
  and {{ still_of_its_type('document_metadata') }}
cross join lateral {{ fields_of('raw.doc', ['meta', 'info']) }}
where
  document_metadata.doc_type = 'feedback'
  {{ and_new('document_metadata') }}
