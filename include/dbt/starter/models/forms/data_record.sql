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
  {{ safe_reported("raw.doc ->> 'reported_date'") }} as reported,
  {{ safe_key("raw.doc ->> 'form'") }} as form,
  {{ safe_key("raw.doc ->> 'from'") }} as from_phone,
  {{ safe_key(data_record_patient('raw.doc')) }} as patient_id,
  {{ data_record_place('raw.doc') }} as place_id,
  {{ safe_key("raw.doc #>> '{contact,_id}'") }} as contact_uuid,
  {{ safe_key("raw.doc #>> '{contact,parent,_id}'") }} as parent_uuid,
  {{ safe_key("raw.doc #>> '{contact,parent,parent,_id}'") }} as grandparent_uuid
from {{ ref('document_metadata') }} as document_metadata
inner join {{ raw() }} as raw
  on raw._id = document_metadata.uuid
  and {{ still_of_its_type('document_metadata') }}
where
  document_metadata.doc_type = 'data_record'
  {{ and_new('document_metadata') }}
