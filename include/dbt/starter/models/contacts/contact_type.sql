{{
  config(
    unique_key='id',
    meta={'follows': ['contact'], 'always_complete': true, 'by_source': true},
    full_refresh=var('drop_and_rebuild', false)
  )
}}

with recursive settings as (
  {{ living_documents("'settings'") }}
),

configured as (
  {{ configured_contact_types('settings') }}
),

-- Of types configured twice the first counts, as in the CHT; of several servers, that whose settings are in the raw table.
first_configured as (
  select distinct on (id) id, person
  from configured
  where id is not null
  order by id, nearness, source, position
),

-- The distinct types of all contacts by a walk along the index, a step per type instead of a row per contact.
existing as (
  (
    select contact.contact_type as id
    from {{ ref('contact') }} as contact
    where contact.contact_type is not null
    order by contact.contact_type
    limit 1
  )
  union all
  select (
    select contact.contact_type
    from {{ ref('contact') }} as contact
    where contact.contact_type > existing.id
    order by contact.contact_type
    limit 1
  )
  from existing
  where existing.id is not null
)

select
  id,
  {{ type_is_person('id', 'first_configured') }} as person,
  first_configured.id is not null as configured
from first_configured
full outer join (select id from existing where id is not null) as existing using (id)
