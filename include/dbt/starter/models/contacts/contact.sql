{{
  config(
    unique_key='uuid',
    meta={'follows': ['document_metadata']},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['uuid'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
      {'columns': ['reported']},
      {'columns': ['parent_uuid']},
      {'columns': ['contact_type']},
    ]
  )
}}

select
  document_metadata.uuid,
  document_metadata.saved_timestamp,
  {{ safe_reported("raw.doc ->> 'reported_date'") }} as reported,
  {{ safe_key("raw.doc #>> '{parent,_id}'") }} as parent_uuid,
  raw.doc ->> 'name' as name,
  {{ safe_key("coalesce(raw.doc ->> 'contact_type', raw.doc ->> 'type')") }} as contact_type,
  raw.doc ->> 'is_active' as active,
  raw.doc ->> 'notes' as notes,
  {{ safe_scalar("raw.doc -> 'muted'") }} as muted
from {{ ref('document_metadata') }} as document_metadata
inner join {{ raw() }} as raw
  on raw._id = document_metadata.uuid
  and {{ still_of_its_type('document_metadata') }}
where
  document_metadata.doc_type in {{ contact_document_types() }}
  {{ and_new('document_metadata') }}
