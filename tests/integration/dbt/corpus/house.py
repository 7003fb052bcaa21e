"""Schemas by a macro of its own, seeds, snapshots, hooks, ephemeral models, materialized views, packages of packages.

What the project says for its packages counts, as if it were dbt's root itself.
"""

from __future__ import annotations

from tests.integration.dbt.corpus.project import RAW, Project

PROJECT = """
name: house
version: 1.0.0
config-version: 2
profile: cht_sync
on-run-start: ["create schema if not exists helpers"]
on-run-end: ["comment on schema helpers is 'of the house'"]
dispatch:
  - {macro_namespace: base, search_order: [house, base]}
vars:
  forms: [visit]
  base: {least: 2}
models:
  +tags: [nightly]
  house:
    staging: {+materialized: ephemeral}
    marts: {+schema: marts}
  base: {+schema: base, +materialized: table}
seeds: {house: {+schema: names, +column_types: {days: integer}}}
snapshots: {+schema: history}
"""
NAME = """
{% macro generate_schema_name(custom_schema_name, node) -%}
{{ custom_schema_name | trim if custom_schema_name else target.schema }}
{%- endmacro %}
{% macro generate_alias_name(custom_alias_name=none, node=none) -%}
{{ custom_alias_name or node.name | replace('mart_', '') }}
{%- endmacro %}
{% macro house__label(name) %}upper({{ name }}){% endmacro %}
"""
BASE = {
    "packages/base/dbt_project.yml": (
        "name: base\nversion: 1.0.0\nconfig-version: 2\nvars: {least: 1, forms: [none]}\n"
        "models: {base: {+materialized: view}}\n"
    ),
    "packages/base/packages.yml": "packages:\n  - local: packages/tools\n",
    "packages/base/macros/label.sql": (
        "{% macro label(name) %}{{ return(adapter.dispatch('label', 'base')(name)) }}{% endmacro %}"
        "{% macro default__label(name) %}lower({{ name }}){% endmacro %}"
    ),
    "packages/base/models/base_person.sql": (
        f"select _id as uuid, {{{{ base.label(\"doc ->> 'name'\") }}}} as name, doc ->> 'sex' as sex, {{{{ var('least') }}}} as least,"
        f" '{{{{ var('forms') | join }}}}' as forms from {RAW} where {{{{ tools.living() }}}} and doc ->> 'type' = 'person'"
    ),
    "packages/tools/dbt_project.yml": "name: tools\nversion: 1.0.0\nconfig-version: 2\n",
    "packages/tools/macros/living.sql": "{% macro living() %}_deleted is not true{% endmacro %}",
    "packages/tools/models/tool_days.sql": "select date '2024-01-01' + n as day from generate_series(0, 3) as n",
}
STAGED = f"""
select _id as uuid, saved_timestamp, doc ->> 'form' as form, jsonb_array_length(doc -> 'days') as days
from {RAW} where {{{{ tools.living() }}}} and doc ->> 'form' in ('{{{{ var('forms') | join("', '") }}}}')
"""
VISITS = f"""
{{{{ config(materialized='incremental', unique_key='uuid', alias='visits', indexes=[{{'columns': ['uuid'], 'unique': true}}],
    post_hook="delete from {{{{ this }}}} as v using {RAW} as raw where raw._id = v.uuid and raw.saved_timestamp > v.saved_timestamp") }}}}
select * from {{{{ ref('staged') }}}}
{{% if is_incremental() %}}
where saved_timestamp > (select coalesce(max(saved_timestamp), '1990-01-01') from {{{{ this }}}})
{{% endif %}}
"""
FORMS = """
{{ config(materialized='materialized_view', indexes=[{'columns': ['form'], 'unique': true}]) }}
select form, count(*) as visits, sum(days) as days from {{ ref('visits') }} group by form
"""
HOUSE = Project(
    files={
        **BASE,
        "dbt_project.yml": PROJECT,
        "packages.yml": "packages:\n  - local: packages/base\n",
        "macros/names.sql": NAME,
        "seeds/words.csv": "days,word\n1,one\n2,two\n3,three\n",
        "models/staging/staged.sql": STAGED,
        "models/marts/visits.sql": VISITS,
        "models/marts/mart_forms.sql": FORMS,
        "models/marts/mart_words.sql": (
            "{{ config(materialized='table') }} select v.uuid, w.word, d.day from {{ ref('visits') }} as v"
            " join {{ ref('words') }} as w using (days) cross join (select max(day) as day from {{ ref('tool_days') }}) as d"
        ),
        "models/marts/mart_then.sql": "select uuid, name from {{ ref('person_then') }} where dbt_valid_to is null",
        "snapshots/then.yml": (
            "snapshots:\n  - name: person_then\n    relation: ref('base_person')\n"
            "    config: {unique_key: uuid, strategy: check, check_cols: all, hard_deletes: invalidate}\n"
        ),
    },
    changes={
        "seeds/words.csv": "days,word\n1,once\n2,twice\n4,often\n",
        "models/staging/staged.sql": STAGED.replace("as days", "as days, doc -> 'contact' ->> '_id' as contact"),
        "dbt_project.yml": PROJECT.replace("[visit]", "[visit, other]").replace("least: 2", "least: 3"),
    },
    breaks="marts.visits",
    people=(
        "create schema people; create view people.forms as select * from marts.forms where visits > 0;"
        "grant select on marts.forms to public; comment on materialized view marts.forms is 'by form'"
    ),
    still={
        "select count(*) > 0 from people.forms": [(True,)],
        "select has_table_privilege('public', 'marts.forms', 'select')": [(True,)],
        "select obj_description('marts.forms'::regclass)": [("by form",)],
    },
    since=("history.person_then",),
)
