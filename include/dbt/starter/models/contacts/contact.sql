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
  {{ safe_reported("body.reported_date #>> '{}'") }} as reported,
  {{ first_id([['parent', '_id']]) }} as parent_uuid,
  {{ safe_text('body.name') }} as name,
  {{ contact_type_of('document_metadata.doc_type') }} as contact_type,
  {{ safe_text('body.is_active') }} as active,
  {{ safe_text('body.notes') }} as notes,
  {{ safe_muted("body.muted #>> '{}'") }} as muted
from {{ ref('document_metadata') }} as document_metadata
inner join {{ raw() }} as raw
  on raw._id = document_metadata.uuid
  and {{ still_of_its_type('document_metadata') }}
cross join lateral {{ fields_of('raw.doc', ['reported_date', 'parent', 'name', 'contact_type', 'is_active', 'notes', 'muted']) }}
where
  document_metadata.doc_type in {{ contact_document_types() }}
  {{ and_new('document_metadata') }}
