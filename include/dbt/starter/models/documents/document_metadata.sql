{{
  config(
    unique_key='uuid',
    meta={'follows': ['raw'], 'tombstone': '_deleted'},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[
      {'columns': ['uuid'], 'type': 'hash'},
      {'columns': ['saved_timestamp']},
      {'columns': ['doc_type']},
      {'columns': ['_deleted']},
      {'columns': ['instance']},
      {'columns': ['dbname']},
    ]
  )
}}

-- Tombstones are selected too: the upsert and the post-hook turn them into deletes, and foreign keys carry those on.
select
  raw._id::text as uuid,
  raw.saved_timestamp,
  coalesce(raw._deleted, false) as _deleted,
  {{ safe_type('body.type') }} as doc_type,
  nullif(split_part(raw.source, '/', 1), '') as instance,
  nullif(substr(raw.source, nullif(strpos(raw.source, '/'), 0) + 1), '') as dbname
from {{ raw() }} as raw
cross join lateral {{ fields_of('raw.doc', ['type']) }}
where
  true
  {{ and_new_batch('raw') }}
