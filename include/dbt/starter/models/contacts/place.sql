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
  {{ first_id([['contact_id']]) }} as contact_id,
  {{ first_id([['place_id']]) }} as place_id
from {{ ref('contact') }} as contact
inner join {{ ref('contact_type') }} as contact_type
  on contact_type.id = contact.contact_type
inner join {{ raw() }} as raw
  on raw._id = contact.uuid
  and raw._deleted is not true
left join {{ contact_types_by_source(ref('contact_type')) }} as by_source
  on by_source.source = raw.source
  and by_source.id = contact.contact_type
cross join lateral {{ fields_of('raw.doc', ['contact_id', 'place_id']) }}
where
  not {{ contact_is_person('by_source', 'contact_type') }}
  {{ and_new('contact') }}
