{#-
  Of which document a row is. That decides which rows go when a document is edited or deleted, so it must not hang on
  the order of the key: it is the column that `meta.document` names, else that of the foreign key to the model which this
  one follows, else `uuid`, else that of a foreign key that deletes on cascade. A key of one column is the last resort,
  and is looked at.
-#}
{% macro document_column(columns, selected) %}
  {%- set follows = cht_starter.follows() -%}
  {%- set key = cht_starter.unique_key_columns() -%}
  {%- if not follows or follows[0] == 'raw' or cht_starter.always_complete() -%}
    {%- if (not follows) or (follows[0] == 'raw' and not cht_starter.tombstone()) -%}
      {%- do exceptions.warn(
        model.name ~ ' keeps the rows of documents that were deleted or are of another kind now: name the model that it reads'
        ~ " first in its config, as in meta={'follows': ['data_record']}."
      ) -%}
    {%- endif -%}
    {{- return(key[0]) -}}
  {%- endif -%}
  {%- set names = columns | map(attribute='name') | list -%}
  {%- set found = [(model.config.meta or {}).get('document')] | select | list -%}
  {%- for one in cht_starter.foreign_keys() if one.table == follows[0] -%}{%- do found.append(one.column) -%}{%- endfor -%}
  {%- if 'uuid' in names -%}{%- do found.append('uuid') -%}{%- endif -%}
  {%- for one in cht_starter.foreign_keys() if one.cascades -%}{%- do found.append(one.column) -%}{%- endfor -%}
  {%- if found -%}
    {{- return(found[0]) -}}
  {%- endif -%}
  {%- set strays = 'select exists (select from ' ~ selected ~ ' as new where not exists (select from ' ~ ref(follows[0])
    ~ ' as followed where followed.' ~ cht_starter.followed_id() ~ '::text = new.' ~ adapter.quote(key[0]) ~ '::text))' -%}
  {%- if key | length > 1 or run_query(strays).rows[0][0] -%}
    {%- do exceptions.raise_compiler_error(
      model.name ~ ' does not say of which document a row is, so that rows of edited documents would stay for ever: select'
      ~ " the document's id as uuid, or name its column in the config, as in meta={'document': 'report_id'}."
    ) -%}
  {%- endif -%}
  {{- return(key[0]) -}}
{% endmacro %}

{#- The column by which rows of the followed model are known. -#}
{% macro followed_id() %}
  {%- set nodes = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model')
    | selectattr('name', 'equalto', cht_starter.follows()[0]) | list -%}
  {%- if nodes and nodes[0].columns and 'uuid' not in nodes[0].columns and nodes[0].config.unique_key is string -%}
    {{- return(adapter.quote(nodes[0].config.unique_key)) -}}
  {%- endif -%}
  {{- return('uuid') -}}
{% endmacro %}

{#- Whether the contract carries deletes into the rows of this model. -#}
{% macro deletes_cascade(document) %}
  {{- return(cht_starter.foreign_keys() | selectattr('cascades') | selectattr('column', 'equalto', document) | list | length > 0) -}}
{% endmacro %}
