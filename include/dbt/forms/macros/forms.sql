{#- The table of raw documents. An empty variable counts as not set, as everywhere. -#}
{% macro raw() %}
  {{- return(source('couchdb', env_var('POSTGRES_TABLE', '') or 'couchdb')) -}}
{% endmacro %}
