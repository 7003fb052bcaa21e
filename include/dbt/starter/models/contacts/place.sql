{{
  config(
    unique_key='uuid',
    meta={'follows': ['contact', 'contact_type']},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['uuid'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
      {'columns': ['place_id']},
    ]
  )
}}

select
  contact.uuid,
  contact.saved_timestamp,
  raw.doc ->> 'contact_id' as contact_id,
  {{ safe_key("raw.doc ->> 'place_id'") }} as place_id
from {{ ref('contact') }} as contact
inner join {{ ref('contact_type') }} as contact_type
  on contact_type.id = contact.contact_type
  and not contact_type.person
inner join {{ raw() }} as raw
  on raw._id = contact.uuid
  and raw._deleted is not true
where
  true
  {{ and_new('contact') }}
