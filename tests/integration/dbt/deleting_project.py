"""A dbt project of cht-pipeline's shape: a delete in the root reaches every model by foreign keys alone."""

from __future__ import annotations

from pathlib import Path

RAW = "{{ env_var('POSTGRES_SCHEMA') }}.{{ env_var('POSTGRES_TABLE') }}"
SINCE = """
{% if is_incremental() %}
and {{ alias }}.saved_timestamp >= (select coalesce(max(saved_timestamp), '1990-01-01') from {{ this }})
{% endif %}
"""

FILES = {
    "dbt_project.yml": """
name: deleting
version: 1.0.0
config-version: 2
profile: cht_sync
on-run-end:
  - "{{ log_results(results) }}"
""",
    "macros/log_results.sql": """
{% macro log_results(results) %}
  -- depends_on: {{ ref('results') }}
  {% if execute %}{% for one in results %}
    {% do run_query("insert into " ~ ref('results') ~ " values ('" ~ one.node.name ~ "', '" ~ one.node.schema ~ "')") %}
  {% endfor %}{% endif %}
  {{ return('') }}
{% endmacro %}
""",
    "models/results.sql": """
{{ config(materialized='incremental') }} select ''::text as name, ''::text as schema_name where false
""",
    "models/document_metadata.sql": """
{{ config(materialized='incremental', on_schema_change='append_new_columns', unique_key='uuid', indexes=[{'columns': ['uuid'], 'type': 'hash'}],
    post_hook='delete from {{ this }} where _deleted') }}
select _id as uuid, saved_timestamp, coalesce(_deleted, false) as _deleted, doc ->> 'type' as doc_type,
  '{{ edition() }}' as edition
from """
    + RAW
    + """ as raw
where true """
    + SINCE.replace("{{ alias }}", "raw"),
    "models/contact.sql": """
{{ config(materialized='incremental', on_schema_change='append_new_columns', unique_key='uuid', indexes=[{'columns': ['saved_timestamp']}]) }}
select root.uuid, root.saved_timestamp, doc ->> 'name' as name, root.edition
from {{ ref('document_metadata') }} as root join """
    + RAW
    + """ as raw on raw._id = root.uuid
where doc_type = 'person' """
    + SINCE.replace("{{ alias }}", "root"),
    "models/patient.sql": """
{{ config(materialized='incremental', on_schema_change='append_new_columns', unique_key='uuid') }}
select contact.uuid, contact.saved_timestamp, edition from {{ ref('contact') }} as contact where true """
    + SINCE.replace("{{ alias }}", "contact"),
    "models/report.sql": """
{{ config(materialized='incremental', on_schema_change='append_new_columns', unique_key='uuid',
    post_hook="{% if not is_incremental() %}alter table {{ this }} add constraint hooked foreign key (uuid)"
      " references {{ env_var('POSTGRES_SCHEMA') }}.document_metadata (uuid) on delete cascade{% endif %}") }}
select uuid, saved_timestamp, edition from {{ ref('document_metadata') }} as root where doc_type = 'report' """
    + SINCE.replace("{{ alias }}", "root"),
    "models/people.sql": "{{ config(materialized='view') }} select count(*) as people, min(edition) as edition from {{ ref('patient') }}",
    "models/before.sql": "{{ config(materialized='table') }} select 1 as one",
    "macros/edition.sql": "{% macro edition() %}old{% endmacro %}",
    "models/models.yml": """
models:
  - name: document_metadata
    config: {contract: {enforced: true}}
    columns:
      - {name: uuid, data_type: string, constraints: [{type: unique}]}
      - {name: saved_timestamp, data_type: timestamp}
      - {name: _deleted, data_type: boolean}
      - {name: doc_type, data_type: string}
      - {name: edition, data_type: text}
  - name: contact
    config: {contract: {enforced: true}}
    columns:
      - name: uuid
        data_type: string
        constraints:
          - {type: unique}
          - {type: foreign_key, expression: "{{ env_var('POSTGRES_SCHEMA') }}.document_metadata (uuid) ON DELETE CASCADE"}
      - {name: saved_timestamp, data_type: timestamp}
      - {name: name, data_type: string}
      - {name: edition, data_type: text}
  - name: patient
    config: {contract: {enforced: true}}
    columns:
      - {name: uuid, data_type: string, constraints: [{type: not_null}]}
      - {name: saved_timestamp, data_type: timestamp}
      - {name: edition, data_type: text}
    constraints:
      - {type: foreign_key, columns: [uuid], expression: '{{ target.schema }}.contact (uuid) on delete cascade'}
""",
}


def write(folder: Path, **changed: str | None) -> Path:
    """Writes the project.

    :param folder: where to.
    :param changed: other content by name, with ``__`` for ``/``; None for a file that is not there.
    """
    for name, text in {**FILES, **{key.replace("__", "/"): text for key, text in changed.items()}}.items():
        if text is not None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
    return folder
