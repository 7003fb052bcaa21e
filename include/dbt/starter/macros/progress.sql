{#-
  The watermark. A model does not look at its own newest row to know how far it came: that row may be deleted, and a
  model without rows would start over for ever. dbt_progress holds one row per model:

    modelled_until  documents up to this saved_timestamp are in the model
    modelled_from   where the last run started; null: it compared everything
    rebuilt         changes whenever rows older than modelled_until may have changed
    basis           `rebuilt` of the models it reads, and a hash of the model's own text: once that differs, everything
                    is compared again, so that a changed model has its history

  A model moves its row in the transaction that writes its rows. A document stamped exactly at the watermark is read
  again, as another with the same stamp may have come; rows that are the same are not written.

  What a model reads stands in `meta.follows`: first the model with its `saved_timestamp` and its `uuid`, then others
  it joins. 'raw' is the table of raw documents. One in `meta.rests_on` is read too, but not waited for: where it is
  behind, its next change compares everything.
-#}

{% macro progress_relation() %}
  {{- return(api.Relation.create(database=target.database, schema=target.schema, identifier='dbt_progress')) -}}
{% endmacro %}

{#- Whether it existed when dbt started, by dbt's cache: without it no model has a row in it either. -#}
{% macro progress_exists() %}
  {{- return(adapter.get_relation(target.database, target.schema, 'dbt_progress') is not none) -}}
{% endmacro %}

{#- on-run-start: a table of the project's own, made once. -#}
{% macro create_progress() %}
  {%- if execute and not cht_starter.progress_exists() and adapter.check_schema_exists(target.database, target.schema) %}
    begin;
    {{ cht_starter.create_once(cht_starter.progress_relation(),
      'model text primary key, modelled_from timestamp, modelled_until timestamp, basis text, rebuilt text,'
      ~ ' updated_at timestamptz') }}
    comment on table {{ cht_starter.progress_relation() }} is 'How far each dbt model has come in the raw documents.';
    commit;
  {%- endif %}
{% endmacro %}

{#- A table that another dbt may be making at the same time: then that one's is there once it has ended. No advisory lock:
    everybody who may connect could hold it. -#}
{% macro create_once(relation, columns) %}
    do $make$ begin
      create table if not exists {{ relation }} ({{ columns }});
    exception when unique_violation or duplicate_table then null;
    end $make$;
{% endmacro %}

{% macro literal(value) %}
  {{- return('null' if value is none else "'" ~ (value | string | replace("'", "''")) ~ "'") -}}
{% endmacro %}

{% macro follows() %}
  {{- return((model.config.meta or {}).get('follows', [])) -}}
{% endmacro %}

{#- The condition on what a model selects under which a row is no row of it but the order to delete one; none: it selects
    no such rows. -#}
{% macro tombstone() %}
  {{- return((model.config.meta or {}).get('tombstone')) -}}
{% endmacro %}

{#- The condition on rows of the model that it selects in every run, whatever its window. -#}
{% macro always_selected() %}
  {{- return((model.config.meta or {}).get('always_selected')) -}}
{% endmacro %}

{#- Whether the model selects all its rows in every run, as a small one may. -#}
{% macro always_complete() %}
  {{- return((model.config.meta or {}).get('always_complete', false)) -}}
{% endmacro %}

{#- The condition on rows `old` that others have written, which the model does not take away. -#}
{% macro and_not_kept() -%}
{%- set kept = (model.config.meta or {}).get('kept') -%}
{%- if kept %}
      and not ({{ kept }})
{%- endif -%}
{%- endmacro %}

{#- The part of `follows` that has a row in dbt_progress, as a list of SQL literals; `more` models are added to it. -#}
{% macro followed_models(more=[]) %}
  {%- set names = [] -%}
  {%- for name in cht_starter.follows() + more if name != 'raw' -%}
    {%- do names.append(cht_starter.literal(name)) -%}
  {%- endfor -%}
  {{- return(names | join(', ') or 'null') -}}
{% endmacro %}

{#- The fingerprint of what the models it follows rest on, and of the model itself. Its text as it is written: what is
    rendered differs from run to run. -#}
{% macro current_basis() -%}
(
  select coalesce(string_agg(followed.model || ':' || followed.rebuilt, ' ' order by followed.model), '')
    || {{ cht_starter.literal(' ' ~ cht_starter.own_text()) }}
  from {{ cht_starter.progress_relation() }} as followed
  where followed.model in ({{ cht_starter.followed_models((model.config.meta or {}).get('rests_on', [])) }})
)
{%- endmacro %}

{% macro own_text() %}
  {%- set parts = [model.raw_code, model.config.unique_key, model.config.meta] -%}
  {%- for column in model.columns.values() -%}{%- do parts.append(column.name ~ ' ' ~ column.data_type) -%}{%- endfor -%}
  {{- return('text:' ~ local_md5(parts | join('\n'))[:12]) -}}
{% endmacro %}

{#- The stamp from which on an incremental run reads, as a literal for the planner; none: everything. -#}
{% macro modelled_until() %}
  {%- if flags.FULL_REFRESH or cht_starter.always_complete() or not cht_starter.progress_exists() -%}
    {{- return(none) -}}
  {%- endif -%}
  {%- set found = run_query(
    'select modelled_until::text from ' ~ cht_starter.progress_relation() ~ ' as own'
    ~ ' where own.model = ' ~ cht_starter.literal(this.identifier) ~ ' and own.basis = ' ~ cht_starter.current_basis()
  ) -%}
  {{- return(found.rows[0][0] if found.rows | length else none) -}}
{% endmacro %}

{#- The condition of an incremental run, for the where clause of a model: empty where everything is to be read. -#}
{% macro and_new(relation) %}
  {%- if is_incremental() -%}
    {%- set since = cht_starter.modelled_until() -%}
    {%- if since is not none %}
  and {{ relation }}.saved_timestamp >= {{ cht_starter.literal(since) }}::timestamp
    {%- endif -%}
  {%- endif -%}
{% endmacro %}

{#- The same for raw documents, which come in batches: `batch_size` documents past the watermark and all that share the
    stamp of the last one. A comparison of everything with a table that is there takes no batches. -#}
{% macro and_new_batch(relation) %}
  {%- set size = var('batch_size', 0) | int -%}
  {%- set since = cht_starter.modelled_until() if is_incremental() else none -%}
  {%- if since is not none %}
  and {{ relation }}.saved_timestamp >= {{ cht_starter.literal(since) }}::timestamp
  {%- endif -%}
  {%- if execute and size > 0 and (since is not none or not is_incremental()) -%}
    {%- set last -%}
      select max(batch.saved_timestamp)::text
      from (
        select saved_timestamp from {{ cht_starter.raw() }}
        {% if since is not none %}where saved_timestamp > {{ cht_starter.literal(since) }}::timestamp{% endif %}
        order by saved_timestamp
        limit {{ size }}
      ) as batch
    {%- endset -%}
    {%- set until = run_query(last).rows[0][0] -%}
    {%- if until is not none %}
  and {{ relation }}.saved_timestamp <= {{ cht_starter.literal(until) }}::timestamp
    {%- endif -%}
  {%- endif -%}
{% endmacro %}

{#- Whether a model moves a row of dbt_progress: one of another kind of project has come as far as its newest row. -#}
{% macro keeps_progress(name) %}
  {%- set found = [] -%}
  {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.name == name -%}
    {%- do found.append(node.config.meta.get('follows')) -%}
  {%- endfor -%}
  {{- return(found | select | list | length > 0 or found | length == 0) -}}
{% endmacro %}

{#- Pre-hook, in the transaction of the model. The models it follows are asked how far they are before their rows are
    read: at worst a row is read twice, never not at all. -#}
{% macro open_window() %}
  {%- if execute and cht_starter.follows() -%}
    {%- set root = cht_starter.follows()[0] == 'raw' -%}
    {%- if is_incremental() and not flags.FULL_REFRESH and not cht_starter.always_complete() -%}
      {%- set since = 'case when own.basis = excluded.basis then own.modelled_until end' -%}
      {%- set rebuilt = 'case when own.basis = excluded.basis and own.modelled_until is not null'
        ~ ' then own.rebuilt else excluded.rebuilt end' -%}
    {%- else -%}
      {%- set since = 'null::timestamp' -%}
      {%- set rebuilt = 'own.rebuilt' if cht_starter.always_complete() else 'excluded.rebuilt' -%}
    {%- endif -%}
    {%- set until = since if root else 'excluded.modelled_until' %}
    insert into {{ cht_starter.progress_relation() }} as own (model, modelled_until, basis, rebuilt, updated_at)
    values (
      {{ cht_starter.literal(this.identifier) }},
      {%- if root %}
      null,
      {%- elif not cht_starter.keeps_progress(cht_starter.follows()[0]) %}
      (select max(followed.saved_timestamp) from {{ ref(cht_starter.follows()[0]) }} as followed),
      {%- else %}
      (
        select case when count(followed.modelled_until) = {{ cht_starter.follows() | length }} then min(followed.modelled_until) end
        from {{ cht_starter.progress_relation() }} as followed
        where followed.model in ({{ cht_starter.followed_models() }})
      ),
      {%- endif %}
      {{ cht_starter.current_basis() }},
      {{ cht_starter.literal(invocation_id) }},
      now()
    )
    on conflict (model) do update set
      modelled_from = {{ since }},
      modelled_until = {{ until }},
      basis = excluded.basis,
      rebuilt = {{ rebuilt }},
      updated_at = excluded.updated_at
    where (own.modelled_from, own.modelled_until, own.basis, own.rebuilt)
      is distinct from ({{ since }}, {{ until }}, excluded.basis, {{ rebuilt }})
  {%- endif -%}
{% endmacro %}

{#- From and until of the run that goes on, as open_window set them; without from it compares everything. -#}
{% macro window() %}
  {%- set found = run_query(
    'select modelled_from::text, modelled_until::text from ' ~ cht_starter.progress_relation()
    ~ ' where model = ' ~ cht_starter.literal(this.identifier)
  ) -%}
  {{- return({'from': found.rows[0][0], 'until': found.rows[0][1]}) -}}
{% endmacro %}

{#- Post-hook, in the same transaction. -#}
{% macro close_window() %}
  {%- if execute and cht_starter.follows() -%}
    {%- set own = 'model = ' ~ cht_starter.literal(this.identifier) -%}
    {%- set incremental = is_incremental() -%}
    {%- set tombstone = cht_starter.tombstone() -%}
    {%- if not incremental and cht_starter.follows()[0] == 'raw' %}
    update {{ cht_starter.progress_relation() }}
    set modelled_until = (select max(saved_timestamp) from {{ this }})
    where {{ own }};
    {%- endif %}
    {%- if not incremental and tombstone %}
    delete from {{ this }} where {{ tombstone }};
    {%- endif %}
    {%- if cht_starter.always_complete() %}
    update {{ cht_starter.progress_relation() }}
    set rebuilt = content.fingerprint
    from (
      select coalesce(md5(string_agg(line, ' ' order by line)), '') as fingerprint
      from (
        select t::text as line from {{ this }} as t
        {%- if (model.config.meta or {}).get('by_source') %}
        union all
        select t::text from {{ cht_starter.contact_types_by_source(this) }} as t
        {%- endif %}
      ) as lines
    ) as content
    where {{ own }} and rebuilt is distinct from content.fingerprint;
    {%- elif not incremental or cht_starter.window()['from'] is none %}
    {%- if not incremental %}
    {{ cht_starter.ensure_unique_key(made_now=true) }}
    {%- endif %}
    {{ cht_starter.ensure_foreign_keys() }}
    analyze {{ this }};
    {%- endif %}
  {%- endif -%}
{% endmacro %}
