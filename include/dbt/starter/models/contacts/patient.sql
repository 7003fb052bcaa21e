{{
  config(
    unique_key='uuid',
    meta={'follows': ['contact', 'contact_type', 'person']},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['uuid'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
      {'columns': ['patient_id'], 'type': 'hash'},
    ]
  )
}}

-- depends_on: {{ ref('contact') }}
-- The window is that of contact: a person that became a place has no row in person any more, and its patient has to go.
select
  person.uuid,
  person.saved_timestamp,
  {{ first_id([['patient_id']]) }} as patient_id
from {{ ref('person') }} as person
inner join {{ raw() }} as raw
  on raw._id = person.uuid
  and raw._deleted is not true
cross join lateral {{ fields_of('raw.doc', ['patient_id']) }}
where
  {{ first_id([['patient_id']]) }} is not null
  {{ and_new('person') }}
