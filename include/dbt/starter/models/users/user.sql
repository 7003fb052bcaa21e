{{
  config(
    unique_key='user_id',
    meta={'follows': ['document_metadata']},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['user_id'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
    ]
  )
}}

select
  document_metadata.uuid as user_id,
  document_metadata.saved_timestamp,
  coalesce(raw.doc ->> 'contact_id', raw.doc ->> 'facility_id') as contact_uuid,
  raw.doc ->> 'language' as language,
  raw.doc ->> 'roles' as roles
from {{ ref('document_metadata') }} as document_metadata
inner join {{ raw() }} as raw
  on raw._id = document_metadata.uuid
  and {{ still_of_its_type('document_metadata') }}
where
  document_metadata.doc_type = 'user-settings'
  {{ and_new('document_metadata') }}
