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
  {{ safe_key("raw.doc ->> 'type'") }} as doc_type,
  split_part(raw.source, '/', 1) as instance,
  split_part(raw.source, '/', 2) as dbname
from {{ raw() }} as raw
where
  true
  {{ and_new_batch('raw') }}
