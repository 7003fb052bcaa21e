{#-
  Tables made by another project, or by an older release of this one, may lack what the upsert and the deletes rest on.
  Runs that compare everything look for that: the first run, and the one after a table it rests on was built anew.
-#}

{% macro unique_key_columns() %}
  {%- set key = config.get('unique_key') -%}
  {{- return([key] if key is string else key) -}}
{% endmacro %}

{#- A unique index on the unique key. Of rows that share a key the newest stays, save in a table that was just made: there
    it is no key, and Postgres says so. -#}
{% macro ensure_unique_key(made_now=false) %}
  {%- set columns = cht_starter.unique_key_columns() -%}
  {%- set check -%}
    select exists (
      select from pg_index as i
      where i.indrelid = {{ cht_starter.literal(this.include(database=false)) }}::regclass
        and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null and i.indexprs is null
        and i.indnkeyatts = i.indnatts
        and (
          select array_agg(a.attname::text order by a.attname::text)
          from pg_attribute as a
          where a.attrelid = i.indrelid and a.attnum = any (i.indkey)
        ) = array[{% for column in columns | sort %}{{ cht_starter.literal(column) }}{{ ', ' if not loop.last }}{% endfor %}]
    )
  {%- endset -%}
  {%- if not run_query(check).rows[0][0] %}
    {%- if not made_now %}
    {%- set newest = 'saved_timestamp' if 'saved_timestamp' in (adapter.get_columns_in_relation(this) | map(attribute='name') | list) else 'ctid' %}
    delete from {{ this }} as a using {{ this }} as b
    where {% for column in columns %}a.{{ adapter.quote(column) }} = b.{{ adapter.quote(column) }} and {% endfor -%}
      (a.{{ newest }}, a.ctid) < (b.{{ newest }}, b.ctid);
    {%- endif %}
    create unique index on {{ this }} ({% for column in columns %}{{ adapter.quote(column) }}{{ ', ' if not loop.last }}{% endfor %});
  {%- endif -%}
{% endmacro %}

{#- The foreign keys of one column in the model's contract, each with what dbt writes behind `references`. -#}
{% macro foreign_keys() %}
  {%- set declared = [] -%}
  {%- for column in model.columns.values() -%}
    {%- for constraint in column.constraints or [] -%}{%- do declared.append([[column.name], constraint]) -%}{%- endfor -%}
  {%- endfor -%}
  {%- for constraint in model.constraints or [] -%}{%- do declared.append([constraint.columns or [], constraint]) -%}{%- endfor -%}
  {%- set found = [] -%}
  {%- for columns, constraint in declared if constraint.type == 'foreign_key' and constraint.expression and columns | length == 1 -%}
    {%- set parent, _, rest = constraint.expression.partition('(') -%}
    {%- do found.append({
      'column': columns[0],
      'parent': parent | trim,
      'table': (parent | trim).split('.')[-1] | replace('"', ''),
      'parent_column': rest.partition(')')[0] | trim or 'uuid',
      'cascades': 'on delete cascade' in constraint.expression.lower().split() | join(' '),
      'expression': constraint.expression,
    }) -%}
  {%- endfor -%}
  {{- return(found) -}}
{% endmacro %}

{#- A table they point to may have been dropped and built anew, which drops them; rows that lost their parent meanwhile
    go first. -#}
{% macro ensure_foreign_keys() %}
  {%- for one in cht_starter.foreign_keys() if one.cascades -%}
    {%- set check -%}
      select exists (
        select from pg_constraint as c
        join pg_attribute as a on a.attrelid = c.conrelid and c.conkey = array[a.attnum]
        where c.contype = 'f' and c.confdeltype = 'c' and c.convalidated
          and c.conrelid = {{ cht_starter.literal(this.include(database=false)) }}::regclass
          and c.confrelid = {{ cht_starter.literal(one.parent) }}::regclass
          and a.attname = {{ cht_starter.literal(one.column) }}
      )
    {%- endset -%}
    {%- if not run_query(check).rows[0][0] %}
    delete from {{ this }} as child
    where child.{{ adapter.quote(one.column) }} is not null
      and not exists (
        select from {{ one.parent }} as parent where parent.{{ one.parent_column }} = child.{{ adapter.quote(one.column) }}
      );
    alter table {{ this }} add foreign key ({{ adapter.quote(one.column) }}) references {{ one.expression }};
    {%- endif -%}
  {%- endfor -%}
{% endmacro %}
