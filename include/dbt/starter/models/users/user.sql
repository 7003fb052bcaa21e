{{
  config(
    unique_key='user_id',
    meta={'follows': ['document_metadata'], 'tombstone': 'saved_timestamp is null'},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['user_id'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
    ]
  )
}}

-- The CHT keeps two documents of a user under one id: the settings in `medic`, the login in `_users`. Where both are
-- copied one is in the raw table and the other in couchdb_collision, whichever came first.
with candidates as (
  select document_metadata.uuid, document_metadata.saved_timestamp
  from {{ ref('document_metadata') }} as document_metadata
  where
    (document_metadata.doc_type = 'user-settings' or {{ is_user('document_metadata.uuid') }})
    {{ and_new('document_metadata') }}

  union

  select document_metadata.uuid, document_metadata.saved_timestamp
  from {{ collisions() }} as collision
  inner join {{ ref('document_metadata') }} as document_metadata on document_metadata.uuid = collision._id
  where
    {{ is_user('collision._id') }}
    {{ and_new('collision') }}
),

documents as (
  {{ living_documents('select uuid from candidates') }}
),

-- Of several servers that know the user, that whose document is in the raw table.
settings as (
  select distinct on (_id) *
  from documents
  where doc ->> 'type' = 'user-settings'
  order by _id, nearness, source
),

logins as (
  select distinct on (_id, split_part(source, '/', 1)) *
  from documents
  where doc ->> 'type' = 'user'
  order by _id, split_part(source, '/', 1), nearness, source
)

-- Without settings it is no user of the CHT; the row that it may have is deleted, which no stamp says.
select
  candidates.uuid as user_id,
  case
    when settings._id is not null
      then greatest(
        candidates.saved_timestamp,
        case when settings.nearness > 0 then settings.saved_timestamp end,
        case when logins.nearness > 0 then logins.saved_timestamp end
      )
  end as saved_timestamp,
  coalesce(
    settings.doc ->> 'contact_id', settings.doc ->> 'facility_id',
    logins.doc ->> 'contact_id', logins.doc ->> 'facility_id'
  ) as contact_uuid,
  settings.doc ->> 'language' as language,
  coalesce(settings.doc ->> 'roles', logins.doc ->> 'roles') as roles
from candidates
left join settings on settings._id = candidates.uuid
left join logins
  on logins._id = candidates.uuid
  and split_part(logins.source, '/', 1) = split_part(settings.source, '/', 1)
