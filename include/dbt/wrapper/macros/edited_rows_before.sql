{#-
  Notes of earlier releases, in a table of its own: numbers of a table and of the transaction that edited the row above.
  A row that is older than that is stale. Both mean nothing after a dump and its restore, which shows in the note itself:
  it was not written by the transaction that it names.
-#}

{% macro take_over_edited_rows() %}
  {%- set old = api.Relation.create(database=target.database, schema=target.schema, identifier='cht_edited_rows') -%}
  {%- set found = adapter.get_relation(old.database, old.schema, old.identifier) -%}
  {%- if found is not none -%}
    {%- set lost = run_query("select count(*) from " ~ old ~ " as e where not (" ~ cht_sync_wrapper.by_its_transaction() ~ ")").rows[0][0] -%}
    {%- if lost -%}
      {%- do exceptions.warn(
        lost ~ ' notes of ' ~ old.include(database=false) ~ ' came with a dump and cannot be read any more: models that had'
        ~ ' failed when it was made may hold rows of documents that were edited then. Trigger cht_pipeline_deploy with'
        ~ ' full_refresh and their names, or all.'
      ) -%}
    {%- endif %}
    do $taken$
    declare
      below record;
    begin
      for below in
        select distinct e.child, e.child_column, n.nspname, c.relname
        from {{ old }} as e
        join pg_class as c on c.oid = e.child
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_constraint as k on k.conrelid = c.oid and k.contype = 'f' and k.confdeltype = 'c'
        join pg_attribute as a on a.attrelid = c.oid and k.conkey = array[a.attnum] and a.attname = e.child_column
      loop
        execute format(
          'insert into {{ cht_sync_wrapper.edited_keys() }} (child_schema, child, child_column, key)'
          ' select distinct %L, %L, %L, e.key from {{ old }} as e where e.child = %s and e.child_column = %L'
          ' and {{ cht_sync_wrapper.by_its_transaction() }}'
          ' and exists (select from %I.%I as stale where stale.%I::text = e.key and age(stale.xmin) > txid_current() - e.edited_in)',
          below.nspname, below.relname, below.child_column, below.child, below.child_column,
          below.nspname, below.relname, below.child_column
        );
      end loop;
    end
    $taken$;
    drop table {{ old }};
  {%- endif -%}
{% endmacro %}

{#- Whether a note was written by the transaction that it names: Postgres keeps the lower 32 bits. -#}
{% macro by_its_transaction() -%}
e.xmin::text::bigint = e.edited_in & 4294967295
{%- endmacro %}
