{#- Beside a project that has no such model: the hooks of the form tables fill it. -#}
{{
  config(
    unique_key=['uuid', 'field'],
    meta={'follows': ['document_metadata'], 'kept': 'true'},
    full_refresh=var('drop_and_rebuild', false),
    indexes=[{'columns': ['saved_timestamp']}, {'columns': ['field']}]
  )
}}

select
  document_metadata.uuid,
  document_metadata.saved_timestamp,
  null::text as doc_type,
  null::text as instance,
  null::text as dbname,
  ''::text as field,
  null::text as value,
  null::text as reason
from {{ ref('document_metadata') }} as document_metadata
where false
