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
  raw.doc #>> '{meta,source}' as source,
  raw.doc #>> '{meta,url}' as url,
  {{ safe_key("raw.doc #>> '{meta,user,name}'") }} as user_name,
  {{ safe_key("raw.doc #>> '{meta,time}'") }} as period_start,
  coalesce(raw.doc #>> '{info,cause}', raw.doc ->> 'info') as cause,
  raw.doc #>> '{info,message}' as message
from {{ ref('document_metadata') }} as document_metadata
inner join {{ raw() }} as raw
  on raw._id = document_metadata.uuid
  and {{ still_of_its_type('document_metadata') }}
where
  document_metadata.doc_type = 'feedback'
  {{ and_new('document_metadata') }}
