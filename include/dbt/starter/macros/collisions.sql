{#-
  An _id belongs to one source in the raw table; what other sources hold under it lies in couchdb_collision beside that
  table: the settings of a second CHT server, or one of the two documents that the CHT keeps of each user, in `_users`
  and in `medic`. A model that needs such a document reads both tables.

  Stamps of both come from one clock: a collision that a run has not seen is stamped later than every raw document that
  it has seen. So `and_new` fits collisions too.
-#}

{#- The relation to read: nothing where CHT Sync 2.x or another sync made the tables, and in unit tests, whose documents
    are all given. -#}
{% macro collisions() %}
  {%- if cht_starter.can_read('couchdb_collision', 'documents of a second source are left out') -%}
    {{ cht_starter.beside_raw('couchdb_collision') }}
  {%- else -%}
    (
      select null::text as _id, null::text as source, true as _deleted, null::jsonb as doc, null::timestamp as saved_timestamp
      where false
    )
  {%- endif -%}
{% endmacro %}

{#- The notes of documents that are stored without U+0000; nothing where there are none, as for collisions. -#}
{% macro nul_notes() %}
  {%- if cht_starter.can_read('couchdb_nul', 'document_rejects does not list what is stored without U+0000') -%}
    {{ cht_starter.beside_raw('couchdb_nul') }}
  {%- else -%}
    (select null::text as _id, null::text as rev where false)
  {%- endif -%}
{% endmacro %}

{% macro beside_raw(name) %}
  {%- set raw = cht_starter.raw() -%}
  {{- return(api.Relation.create(database=raw.database, schema=raw.schema, identifier=name)) -}}
{% endmacro %}

{#- Whether a table beside the raw one is there and may be read; `otherwise` says what is left out where it may not. -#}
{% macro can_read(name, otherwise) %}
  {%- if not execute or model.resource_type == 'unit_test' -%}
    {{- return(false) -}}
  {%- endif -%}
  {%- set relation = cht_starter.beside_raw(name).include(database=false) -%}
  {%- set found = run_query(
    "select to_regclass(name) is not null, coalesce(has_table_privilege(to_regclass(name)::oid, 'select'), false) from (select "
    ~ cht_starter.literal(relation) ~ '::text as name) as beside'
  ).rows[0] -%}
  {%- if found[0] and not found[1] -%}
    {%- do exceptions.warn(
      'The role ' ~ target.user ~ ' may not read ' ~ relation ~ ', so ' ~ otherwise ~ ': grant select on it'
      ~ ' (include/roles/roles.sql does), then run once with --full-refresh.'
    ) -%}
  {%- endif -%}
  {{- return(found[1]) -}}
{% endmacro %}

{#- The documents that are not deleted under some ids, of every source. `nearness` is 0 for the one in the raw table, 1
    for those of the same instance, 2 for others; `ids` is what stands behind `in`. -#}
{% macro living_documents(ids) %}
  select raw._id::text as _id, raw.source::text as source, raw.saved_timestamp, raw.doc, 0 as nearness
  from {{ cht_starter.raw() }} as raw
  where raw._id in ({{ ids }})
    and raw._deleted is not true

  union all

  select
    collision._id::text,
    collision.source::text,
    collision.saved_timestamp,
    collision.doc,
    case when split_part(collision.source, '/', 1) = split_part(raw.source, '/', 1) then 1 else 2 end
  from {{ cht_starter.collisions() }} as collision
  left join {{ cht_starter.raw() }} as raw on raw._id = collision._id
  where collision._id in ({{ ids }})
    and not collision._deleted
    and collision.source is distinct from raw.source
{% endmacro %}
