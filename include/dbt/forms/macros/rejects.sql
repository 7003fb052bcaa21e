{#-
  What the rows of form tables say in `rejected`, listed in document_rejects with the field as `<table>: <path>`. A model
  does that for the documents of its window, in the transaction that writes its rows. All of a table are listed anew at
  the end of a run where the table or document_rejects was built anew, of which dbt_progress keeps a note.
-#}

{% macro beside(relation, name) %}
  {{- return(relation.incorporate(path={'identifier': name})) -}}
{% endmacro %}

{#- Asked of PostgreSQL: what this run has made is not in dbt's cache. -#}
{% macro is_there(relation) %}
  {{- return(run_query('select to_regclass(' ~ cht_forms.literal(relation.include(database=false)) ~ ') is not null').rows[0][0]) -}}
{% endmacro %}

{#- Post-hook. Where everything was compared, the end of the run lists all. -#}
{% macro list_rejects() %}
  {%- set rejects = adapter.get_relation(target.database, target.schema, 'document_rejects') if execute and is_incremental() else none -%}
  {%- if rejects is not none and (model.config.meta or {}).get('form') -%}
    {%- set window = cht_forms.window() -%}
    {%- if window['from'] is not none %}
    delete from {{ rejects }} as listed
    using {{ cht_forms.beside(rejects, 'document_metadata') }} as followed
    where followed.uuid = listed.uuid
      and followed.saved_timestamp {{ cht_forms.within(window) }}
      and {{ cht_forms.is_of(this.identifier) }};
    {{ cht_forms.insert_rejects(rejects, this, 'own.saved_timestamp ' ~ cht_forms.within(window)) }}
    {%- endif -%}
  {%- endif -%}
{% endmacro %}

{#- on-run-end. -#}
{% macro list_rejects_of_rebuilt() %}
  {%- set progress = cht_forms.progress_relation() -%}
  {%- set rejects = cht_forms.beside(progress, 'document_rejects') -%}
  {%- if execute and cht_forms.is_there(progress) and cht_forms.is_there(rejects) -%}
    {%- set names = [] -%}
    {%- for node in graph.nodes.values() if node.resource_type == 'model' and (node.config.meta or {}).get('form') -%}
      {%- do names.append(cht_forms.literal(node.alias)) -%}
    {%- endfor -%}
    {%- set rebuilt -%}
      select own.model, concat_ws(' ', own.rebuilt, listed.rebuilt)
      from {{ progress }} as own
      left join {{ progress }} as listed on listed.model = 'document_rejects'
      left join {{ progress }} as noted on noted.model = 'rejects of ' || own.model
      where own.model in ({{ names | join(', ') or 'null' }})
        and to_regclass({{ cht_forms.literal('"' ~ target.schema ~ '".') }} || quote_ident(own.model)) is not null
        and noted.basis is distinct from concat_ws(' ', own.rebuilt, listed.rebuilt)
    {%- endset -%}
    {%- for name, basis in run_query(rebuilt).rows %}
    {%- set relation = api.Relation.create(database=target.database, schema=target.schema, identifier=name) %}
    begin;
    delete from {{ rejects }} as listed where {{ cht_forms.is_of(name) }};
    {{ cht_forms.insert_rejects(rejects, relation, 'true') }};
    insert into {{ progress }} (model, basis, updated_at)
    values ({{ cht_forms.literal('rejects of ' ~ name) }}, {{ cht_forms.literal(basis) }}, now())
    on conflict (model) do update set basis = excluded.basis, updated_at = excluded.updated_at;
    commit;
    {%- endfor -%}
  {%- endif -%}
{% endmacro %}

{% macro is_of(name) -%}
left(listed.field, {{ name | length + 2 }}) = {{ cht_forms.literal(name ~ ': ') }}
{%- endmacro %}

{#- An entry of the index of document_rejects holds 2,704 bytes. -#}
{% macro insert_rejects(rejects, relation, condition) %}
    insert into {{ rejects }} (uuid, saved_timestamp, doc_type, instance, dbname, field, value, reason)
    select
      own.uuid,
      own.saved_timestamp,
      document_metadata.doc_type,
      document_metadata.instance,
      document_metadata.dbname,
      {{ cht_forms.literal(relation.identifier ~ ': ') }} || entry.key,
      entry.value ->> 0,
      entry.value ->> 1
    from {{ relation }} as own
    inner join {{ cht_forms.beside(relation, 'document_metadata') }} as document_metadata
      on document_metadata.uuid = own.uuid
    cross join lateral jsonb_each(own.rejected) as entry
    where own.rejected is not null
      and {{ condition }}
      and octet_length(own.uuid) + octet_length(entry.key) <= 2500
    on conflict (uuid, field) do update set
      saved_timestamp = excluded.saved_timestamp, value = excluded.value, reason = excluded.reason
{% endmacro %}
