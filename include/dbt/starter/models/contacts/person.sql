{{
  config(
    unique_key='uuid',
    meta={'follows': ['contact', 'contact_type']},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['uuid'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
    ]
  )
}}

select
  contact.uuid,
  contact.saved_timestamp,
  {{ safe_text('body.sex') }} as sex,
  {{ safe_text('body.phone') }} as phone,
  {{ safe_text('body.alternative_phone') }} as phone2,
  {{ first_id([['patient_id']]) }} as patient_id
from {{ ref('contact') }} as contact
inner join {{ ref('contact_type') }} as contact_type
  on contact_type.id = contact.contact_type
inner join {{ raw() }} as raw
  on raw._id = contact.uuid
  and raw._deleted is not true
left join {{ contact_types_by_source(ref('contact_type')) }} as by_source
  on by_source.source = raw.source
  and by_source.id = contact.contact_type
cross join lateral {{ fields_of('raw.doc', ['sex', 'phone', 'alternative_phone', 'patient_id']) }}
where
  {{ contact_is_person('by_source', 'contact_type') }}
  {{ and_new('contact') }}
