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

-- Without settings it is no user of the CHT; the row that it may have is deleted, which no stamp says.
select
  body.uuid as user_id,
  body.saved_timestamp,
  {{ first_id(user_contact()) }} as contact_uuid,
  {{ safe_text(value_at(['settings', 'language'])) }} as language,
  coalesce({{ safe_list(value_at(['settings', 'roles'])) }}, {{ safe_list(value_at(['login', 'roles'])) }}) as roles
from {{ users_to_read() }} as body
