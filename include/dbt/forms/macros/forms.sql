{#- The table of raw documents. An empty variable counts as not set, as everywhere. -#}
{% macro raw() %}
  {{- return(source('couchdb', env_var('POSTGRES_TABLE', '') or 'couchdb')) -}}
{% endmacro %}

{#- For the transaction of a model: a step gives each row something else, so nothing is gained by remembering it, nor by
    compiling some hundred expressions for some hundred rows. Not every version of PostgreSQL has both settings. -#}
{% macro plan_as_written() %}
    select set_config(name, 'off', true) from pg_settings where name in ('enable_memoize', 'jit')
{% endmacro %}
