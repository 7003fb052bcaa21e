{#- A team may put rules on a table, which PostgreSQL takes no `on conflict` for, not even where they are disabled. -#}

{% macro has_rules(table) %}
  {%- set check -%}
    select exists (
      select from pg_rewrite as r
      where r.ev_class = {{ cht_starter.literal(table.include(database=false)) }}::regclass and r.ev_type in ('2', '3')
    )
  {%- endset -%}
  {{- return(run_query(check).rows[0][0]) -}}
{% endmacro %}

{#- What `on conflict` does, in two statements; two rows of one key fail as there. Which rows are new is settled before:
    what a rule adds to an insert runs after it, when they are there. -#}
{% macro update_and_insert(target_table, selected, key, columns, tombstone) %}
  {%- set names = columns | map(attribute='quoted') | join(', ') -%}
  {%- set keys -%}{%- for column in key -%}{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{%- endfor -%}{%- endset %}
    create temporary table cht_starter_rows on commit drop as
    select {{ names }}, not exists (select from {{ target_table }} as old where {{ cht_starter.same_key(key) }}) as cht_is_new
    from {{ cht_starter.without_tombstones(selected, tombstone) }} as new
    where not exists (
      select from {{ target_table }} as old
      where {{ cht_starter.same_key(key) }}
        and ({{ cht_starter.comparable('old', columns) }}) is not distinct from ({{ cht_starter.comparable('new', columns) }})
    );
    create unique index on cht_starter_rows ({{ keys }});
    update {{ target_table }} as old set
    {%- for column in columns %}
      {{ column.quoted }} = new.{{ column.quoted }}{{ ',' if not loop.last }}
    {%- endfor %}
    from cht_starter_rows as new where not new.cht_is_new and {{ cht_starter.same_key(key) }};
    insert into {{ target_table }} ({{ names }})
    select {{ names }} from cht_starter_rows where cht_is_new
{% endmacro %}

{% macro without_tombstones(selected, tombstone) -%}
{% if tombstone %}(select * from {{ selected }} where ({{ tombstone }}) is not true){% else %}{{ selected }}{% endif %}
{%- endmacro %}
