{{
  config(
    unique_key='uuid',
    meta={'follows': ['document_metadata']},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['uuid'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
      {'columns': ['reported']},
      {'columns': ['from_phone']},
      {'columns': ['form']},
      {'columns': ['patient_id']},
      {'columns': ['contact_uuid']},
      {'columns': ['parent_uuid']},
      {'columns': ['grandparent_uuid']},
    ]
  )
}}

select
  document_metadata.uuid,
  document_metadata.saved_timestamp,
  {{ safe_reported("body.reported_date #>> '{}'") }} as reported,
  {{ first_id([['form']]) }} as form,
  {{ first_id([['from']]) }} as from_phone,
  {{ first_id(data_record_patient()) }} as patient_id,
  {{ first_id(data_record_place()) }} as place_id,
  {{ first_id([['contact', '_id']]) }} as contact_uuid,
  {{ first_id([['contact', 'parent', '_id']]) }} as parent_uuid,
  {{ first_id([['contact', 'parent', 'parent', '_id']]) }} as grandparent_uuid
from {{ ref('document_metadata') }} as document_metadata
inner join {{ raw() }} as raw
  on raw._id = document_metadata.uuid
  and {{ still_of_its_type('document_metadata') }}
cross join lateral {{ fields_of('raw.doc', ['reported_date', 'form', 'from', 'patient_id', 'place_id', 'fields', 'contact']) }}
where
  document_metadata.doc_type = 'data_record'
  {{ and_new('document_metadata') }}
